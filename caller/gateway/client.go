package gateway

// Client is who may use the gateway.
type Client struct {
	// Name names the client in events and usage. Required, unique.
	Name string
}

// client is a checked Client.
type client struct{ Client }
