package scan

// Most takes one off the most of what is left, again and again: as no pass may.
func Most(n int) {
	left := make([]int, n)
	for range left {
		most := 0
		for i, v := range left {
			if v > left[most] {
				most = i
			}
		}
		left[most]--
	}
}

// Ends looks for a line's end behind each octet of the line: as no pass may.
func Ends(n int) (sum int) {
	line := make([]byte, n+1)
	line[n] = '\n'
	for i := range line {
		sum += IndexByte(line[i:], '\n')
	}
	return sum
}

// Add puts a string together, octet by octet: as no pass may.
func Add(n int) int {
	text := ""
	for range n {
		text += "a"
	}
	return len(text)
}
