package serve

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/dipylon/dipylon/backends"
	pb "github.com/dipylon/dipylon/plugins/proto/dipylon/store/v2"
)

// filedContent stands in a file, and is all of it.
type filedContent struct {
	backends.Content
	file *os.File
}

func (filedContent) Size() int64                                    { return 9 }
func (c filedContent) File() (backends.OpenFile, int64, int64)      { return c.file, 3, 7 }
func (c filedContent) WholeFile() (backends.OpenFile, int64, int64) { return c.file, 12, -1 }

// TestHold: a file that the backend has not looked at is for a gateway that looks itself. Any other gateway gets it as one
// that the backend has looked at.
func TestHold(t *testing.T) {
	file, err := os.Create(filepath.Join(t.TempDir(), "message"))
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	for _, test := range []struct {
		name  string
		files uint64
		whole bool
		want  *pb.File
	}{
		{"a gateway that looks", 1, true, &pb.File{Size: 12, Length: -1, Whole: true}},
		{"one that does not", 1, false, &pb.File{Size: 9, Offset: 3, Length: 7}},
		{"one without files", 0, true, nil},
	} {
		t.Run(test.name, func(t *testing.T) {
			f := &fetching{files: test.files, whole: test.whole}
			if held := f.hold(filedContent{file: file}); held != (test.want != nil) || len(f.held) != 1 && held {
				t.Fatalf("held: %v, %d", held, len(f.held))
			}
			if test.want != nil && f.held[0].frame.String() != test.want.String() {
				t.Errorf("%v, want %v", f.held[0].frame, test.want)
			}
		})
	}
}
