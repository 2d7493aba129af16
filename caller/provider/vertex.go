package provider

import "github.com/penstock/penstock/caller"

// Vertex is the profile of Google Cloud's Vertex AI (aiplatform.googleapis.com). An account is a project in a region. The
// secret is an OAuth access token.
func Vertex() caller.Profile {
	p := Gemini()
	p.Name = "vertex"
	p.Authorize = bearer
	p.Idempotent = idempotentOpenAI(append([]string{
		":generateContent", ":streamGenerateContent", ":countTokens", ":embedContent", ":batchEmbedContents", ":predict",
		":rawPredict", ":streamRawPredict",
	}, openAIEndings...)...)
	p.Usage = usageVertex
	return p
}

// usageVertex also reads the usage of Anthropic's models, which Vertex passes on.
func usageVertex(data []byte) caller.Cost {
	if usage := usageGemini(data); usage[caller.Tokens] > 0 {
		return usage
	}
	if usage := usageAnthropic(data); usage != nil {
		return usage
	}
	return usageGemini(data)
}
