package caller

// Secret is an API key's secret.
type Secret string
