package rop

import "github.com/dipylon/dipylon/backends/mapi"

// Flags of [GetContentsTable.TableFlags] and [GetHierarchyTable.TableFlags]. MS-OXCFOLD §2.2.1.13.1, §2.2.1.14.1.
const (
	TableAssociated      uint8 = 0x02 // of contents
	TableDepth           uint8 = 0x04 // of the hierarchy: folders in folders too
	TableDeferredErrors  uint8 = 0x08
	TableNoNotifications uint8 = 0x10
	TableSoftDeletes     uint8 = 0x20
	TableUseUnicode      uint8 = 0x40
)

// GetHierarchyTable opens the table of the folders in a folder. MS-OXCROPS §2.2.4.13.
type GetHierarchyTable struct {
	Opens
	TableFlags uint8
}

// ID says which operation it is.
func (*GetHierarchyTable) ID() ID                  { return idGetHierarchyTable }
func (r *GetHierarchyTable) write(e *mapi.Encoder) { e.Uint8(r.TableFlags) }
func (*GetHierarchyTable) reply() *RowCountReply   { return &RowCountReply{} }

// GetContentsTable opens the table of the messages in a folder. MS-OXCROPS §2.2.4.14.
type GetContentsTable struct {
	Opens
	TableFlags uint8
}

// ID says which operation it is.
func (*GetContentsTable) ID() ID                  { return idGetContentsTable }
func (r *GetContentsTable) write(e *mapi.Encoder) { e.Uint8(r.TableFlags) }
func (*GetContentsTable) reply() *RowCountReply   { return &RowCountReply{} }

// RowCountReply is a reply that says how many rows a table has.
type RowCountReply struct {
	Result
	RowCount uint32
}

func (r *RowCountReply) read(d *decoder) { r.RowCount = d.Uint32() }

// SetColumns says which columns rows shall have. MS-OXCROPS §2.2.5.1.
type SetColumns struct {
	Input
	SetColumnsFlags uint8
	PropertyTags    []mapi.Tag
}

// ID says which operation it is.
func (*SetColumns) ID() ID                   { return idSetColumns }
func (*SetColumns) reply() *TableStatusReply { return &TableStatusReply{} }
func (r *SetColumns) write(e *mapi.Encoder) {
	e.Uint8(r.SetColumnsFlags)
	e.Tags(r.PropertyTags)
}

// TableStatusReply is a reply that says what a table is doing: 0 if nothing. MS-OXCTABL §2.2.2.1.3.
type TableStatusReply struct {
	Result
	TableStatus uint8
}

func (r *TableStatusReply) read(d *decoder) { r.TableStatus = d.Uint8() }

// Values of [SortOrder.Order].
const (
	SortAscending  uint8 = 0
	SortDescending uint8 = 1
)

// SortOrder is a column that rows are sorted by. MS-OXCDATA §2.13.1.
type SortOrder struct {
	PropertyTag mapi.Tag
	Order       uint8
}

// SortTable sorts the rows of a table. MS-OXCROPS §2.2.5.2.
type SortTable struct {
	Input
	SortTableFlags               uint8
	SortOrders                   []SortOrder
	CategoryCount, ExpandedCount uint16
}

// ID says which operation it is.
func (*SortTable) ID() ID                   { return idSortTable }
func (*SortTable) reply() *TableStatusReply { return &TableStatusReply{} }
func (r *SortTable) write(e *mapi.Encoder) {
	e.Uint8(r.SortTableFlags)
	writeCount(e, len(r.SortOrders))
	e.Uint16(r.CategoryCount)
	e.Uint16(r.ExpandedCount)
	for _, order := range r.SortOrders {
		e.Tag(order.PropertyTag)
		e.Uint8(order.Order)
	}
}

// Restrict leaves only the rows of a table for which a restriction holds, or all if it is nil. MS-OXCROPS §2.2.5.3.
type Restrict struct {
	Input
	RestrictFlags uint8
	Restriction   mapi.Restriction
}

// ID says which operation it is.
func (*Restrict) ID() ID                   { return idRestrict }
func (*Restrict) reply() *TableStatusReply { return &TableStatusReply{} }
func (r *Restrict) write(e *mapi.Encoder) {
	e.Uint8(r.RestrictFlags)
	writeRestriction(e, r.Restriction)
}

// writeRestriction writes a restriction, which may be nil, behind its size.
func writeRestriction(e *mapi.Encoder, r mapi.Restriction) {
	writeSized(e, func() {
		if r != nil {
			e.Restriction(r)
		}
	})
}

// Flags of [QueryRows.QueryRowsFlags], MS-OXCTABL §2.2.2.5.1.
const (
	QueryNoAdvance     uint8 = 0x01 // leaves the cursor where it is
	QueryPackedBuffers uint8 = 0x02 // lets the server go on in further payloads, with [Session.Chain]
)

// QueryRows asks for the next rows of a table: as many as there are and fit. MS-OXCROPS §2.2.5.4.
type QueryRows struct {
	Input
	QueryRowsFlags uint8
	ForwardRead    bool
	RowCount       uint16
	// Columns are those that the table was given by [SetColumns]: the reply cannot be read without them.
	Columns []mapi.Tag
}

// ID says which operation it is.
func (*QueryRows) ID() ID                   { return idQueryRows }
func (r *QueryRows) reply() *QueryRowsReply { return &QueryRowsReply{columns: r.Columns} }
func (r *QueryRows) write(e *mapi.Encoder) {
	e.Uint8(r.QueryRowsFlags)
	writeBool(e, r.ForwardRead)
	e.Uint16(r.RowCount)
}

// Places in a table, MS-OXCTABL §2.2.2.1.2.
const (
	OriginBeginning uint8 = 0
	OriginCurrent   uint8 = 1
	OriginEnd       uint8 = 2
)

// QueryRowsReply is the reply to [QueryRows].
type QueryRowsReply struct {
	Result
	// Origin is [OriginEnd] if there are no more rows.
	Origin  uint8
	Rows    [][]mapi.Value
	columns []mapi.Tag
}

func (r *QueryRowsReply) read(d *decoder) {
	r.Origin = d.Uint8()
	n := int(d.Uint16())
	r.Rows = append(r.Rows, list(d, n, func() []mapi.Value { return d.Row(r.columns) })...)
}

func (r *QueryRowsReply) extend(d *decoder) { r.read(d) }

// GetStatus asks what a table is doing. MS-OXCROPS §2.2.5.6.
type GetStatus struct{ Input }

// ID says which operation it is.
func (*GetStatus) ID() ID                   { return idGetStatus }
func (*GetStatus) write(*mapi.Encoder)      {}
func (*GetStatus) reply() *TableStatusReply { return &TableStatusReply{} }

// QueryPosition asks where in a table the cursor is. MS-OXCROPS §2.2.5.7.
type QueryPosition struct{ Input }

// ID says which operation it is.
func (*QueryPosition) ID() ID                     { return idQueryPosition }
func (*QueryPosition) write(*mapi.Encoder)        {}
func (*QueryPosition) reply() *QueryPositionReply { return &QueryPositionReply{} }

// QueryPositionReply is the reply to [QueryPosition].
type QueryPositionReply struct {
	Result
	Numerator, Denominator uint32
}

func (r *QueryPositionReply) read(d *decoder) { r.Numerator, r.Denominator = d.Uint32(), d.Uint32() }

// SeekRow moves the cursor of a table. MS-OXCROPS §2.2.5.8.
type SeekRow struct {
	Input
	Origin            uint8
	RowCount          int32 // backward, if it is negative
	WantRowMovedCount bool
}

// ID says which operation it is.
func (*SeekRow) ID() ID               { return idSeekRow }
func (*SeekRow) reply() *SeekRowReply { return &SeekRowReply{} }
func (r *SeekRow) write(e *mapi.Encoder) {
	e.Uint8(r.Origin)
	e.Uint32(uint32(r.RowCount))
	writeBool(e, r.WantRowMovedCount)
}

// SeekRowReply is the reply to [SeekRow].
type SeekRowReply struct {
	Result
	HasSoughtLess   bool
	RowsSoughtCount int32
}

func (r *SeekRowReply) read(d *decoder) {
	r.HasSoughtLess, r.RowsSoughtCount = d.bool(), int32(d.Uint32())
}

// CreateBookmark marks where the cursor of a table is. MS-OXCROPS §2.2.5.11.
type CreateBookmark struct{ Input }

// ID says which operation it is.
func (*CreateBookmark) ID() ID                      { return idCreateBookmark }
func (*CreateBookmark) write(*mapi.Encoder)         {}
func (*CreateBookmark) reply() *CreateBookmarkReply { return &CreateBookmarkReply{} }

// CreateBookmarkReply is the reply to [CreateBookmark].
type CreateBookmarkReply struct {
	Result
	Bookmark []byte
}

func (r *CreateBookmarkReply) read(d *decoder) { r.Bookmark = d.Bytes(int(d.Uint16())) }

// QueryColumnsAll asks for all columns that a table has. MS-OXCROPS §2.2.5.12.
type QueryColumnsAll struct{ Input }

// ID says which operation it is.
func (*QueryColumnsAll) ID() ID              { return idQueryColumnsAll }
func (*QueryColumnsAll) write(*mapi.Encoder) {}
func (*QueryColumnsAll) reply() *TagsReply   { return &TagsReply{} }

// TagsReply is a reply that names properties.
type TagsReply struct {
	Result
	PropertyTags []mapi.Tag
}

func (r *TagsReply) read(d *decoder) { r.PropertyTags = d.Tags() }

// FindRow looks for the next row for which a restriction holds. MS-OXCROPS §2.2.5.13.
type FindRow struct {
	Input
	FindRowFlags uint8 // 1: backward
	Restriction  mapi.Restriction
	Origin       uint8
	Bookmark     []byte
	// Columns are those that the table was given by [SetColumns].
	Columns []mapi.Tag
}

// ID says which operation it is.
func (*FindRow) ID() ID                 { return idFindRow }
func (r *FindRow) reply() *FindRowReply { return &FindRowReply{columns: r.Columns} }
func (r *FindRow) write(e *mapi.Encoder) {
	e.Uint8(r.FindRowFlags)
	writeRestriction(e, r.Restriction)
	e.Uint8(r.Origin)
	writeSized(e, func() { e.Bytes(r.Bookmark) })
}

// FindRowReply is the reply to [FindRow]. Row is nil if the row is not told.
type FindRowReply struct {
	Result
	RowNoLongerVisible bool
	Row                []mapi.Value
	columns            []mapi.Tag
}

func (r *FindRowReply) read(d *decoder) {
	r.RowNoLongerVisible = d.bool()
	if d.bool() {
		r.Row = d.Row(r.columns)
	}
}

// ResetTable takes columns, order and restriction from a table. MS-OXCROPS §2.2.5.15.
type ResetTable struct{ Input }

// ID says which operation it is.
func (*ResetTable) ID() ID              { return idResetTable }
func (*ResetTable) write(*mapi.Encoder) {}
func (*ResetTable) reply() *Result      { return &Result{} }
