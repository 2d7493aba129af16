package concurrency

// Priority orders requests. In all processes together, a request of a higher priority is served before one of a lower.
// Within a priority, a process serves its requests in the order in which they came.
type Priority int

// Values of Priority.
const (
	// PriorityLow is for work that uses what is left.
	PriorityLow Priority = iota - 1
	// PriorityNormal is the default.
	PriorityNormal
	// PriorityHigh is for work that a person waits for.
	PriorityHigh
)

// levels is the number of priorities. Level 0 is PriorityHigh.
const levels = 3

func (p Priority) level() int { return int(PriorityHigh - p) }
