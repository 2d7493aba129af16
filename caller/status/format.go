package status

import (
	"fmt"
	"html/template"
	"math"
	"strconv"
	"strings"
	"time"
)

// formats are the template's functions.
var formats = template.FuncMap{
	"count": count, "percent": percent, "width": width, "seconds": seconds, "period": period, "words": words,
	"rate": func(perSecond float64) string { return strconv.FormatFloat(perSecond, 'f', 1, 64) },
	"success": func(t Totals) string {
		if t.Succeeded+t.Failed == 0 {
			return "–"
		}
		return percent(float64(t.Succeeded) / float64(t.Succeeded+t.Failed))
	},
}

// count writes a number with thin spaces between thousands.
func count(n any) string {
	text := fmt.Sprint(n)
	var b strings.Builder
	for i, digit := range text {
		if left := len(text) - i; i > 0 && left%3 == 0 && text[i-1] != '-' {
			b.WriteRune('\u2009')
		}
		b.WriteRune(digit)
	}
	return b.String()
}

func percent(share float64) string {
	if share > 0 && share < 0.0995 || share > 0.995 && share < 1 {
		return strconv.FormatFloat(math.Floor(share*1000)/10, 'f', 1, 64) + "\u2009%"
	}
	return strconv.FormatFloat(share*100, 'f', 0, 64) + "\u2009%"
}

// width is a share as a bar's length in per cent.
func width(share float64) string { return strconv.FormatFloat(min(max(share, 0), 1)*100, 'f', 1, 64) }

// seconds writes a time in its greatest units.
func seconds(s any) string {
	var value float64
	switch v := s.(type) {
	case float64:
		value = v
	case *float64:
		if v == nil {
			return ""
		}
		value = *v
	}
	d := time.Duration(value * float64(time.Second))
	switch {
	case d < time.Second:
		return fmt.Sprintf("%d\u2009ms", d.Milliseconds())
	case d < time.Minute:
		return fmt.Sprintf("%d\u2009s", int(d.Seconds()))
	case d < time.Hour:
		return fmt.Sprintf("%d\u2009min %d\u2009s", int(d.Minutes()), int(d.Seconds())%60)
	default:
		return fmt.Sprintf("%d\u2009h %d\u2009min", int(d.Hours()), int(d.Minutes())%60)
	}
}

// period names a limit's period.
func period(s float64) string {
	switch s {
	case 1:
		return "second"
	case 60:
		return "minute"
	case 3600:
		return "hour"
	case 86400:
		return "day"
	}
	return seconds(s)
}

// words writes a name without underscores.
func words(name string) string { return strings.ReplaceAll(name, "_", " ") }
