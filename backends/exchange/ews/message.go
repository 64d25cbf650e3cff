package ews

import (
	"io"
	"strconv"
	"time"

	"github.com/dipylon/dipylon/backends"
)

// message goes to the next response message, and reads what says what became of it. What it brings comes next: see [reply.child]
// with the depth that is returned. Behind the last one it returns io.EOF.
func (r *reply) message() (out outcome, depth int, err error) {
	begins, err := r.child(r.inside)
	if err != nil {
		return out, 0, r.failed(err)
	}
	if !begins {
		if r.finish(); !r.over {
			return out, 0, r.failed(io.ErrUnexpectedEOF)
		}
		return out, 0, io.EOF
	}
	if r.x.name != (name{messagesSpace, r.operation.name + "ResponseMessage"}) {
		return out, 0, r.lacks("a response message where one must be")
	}
	depth = r.x.depth()
	class := r.x.attr("ResponseClass")
	e := &Error{Operation: r.operation.name}
	for {
		begins, err := r.child(depth)
		if err != nil {
			return out, depth, r.failed(err)
		}
		if r.waiting = begins && !says[r.x.name]; !begins || r.waiting {
			break // what it brings begins here
		}
		if err := r.said(e); err != nil {
			return out, depth, r.failed(err)
		}
	}
	switch {
	case e.Code == "" || class == "":
		return out, depth, r.lacks("a response code or class")
	case class == "Success" && e.Code == noError:
		return outcome{code: noError}, depth, nil
	}
	return outcome{failure: e.failure(), code: e.Code}, depth, nil
}

// says are the elements that say what became of an operation, which stand before the others.
var says = map[name]bool{
	{messagesSpace, "MessageText"}: true, {messagesSpace, "ResponseCode"}: true,
	{messagesSpace, "DescriptiveLinkKey"}: true, {messagesSpace, "MessageXml"}: true,
}

// said reads one of them.
func (r *reply) said(e *Error) (err error) {
	switch r.x.name.local {
	case "MessageText":
		e.Text, err = r.short()
	case "ResponseCode":
		var text string
		text, err = r.short()
		e.Code = Code(text)
	case "MessageXml":
		err = r.values(e)
	}
	return err
}

// backOffMost is how long a server may ask to be left alone.
const backOffMost = time.Hour

// values reads the values of a MessageXml, MS-OXWSCDATA §2.2.4.43.
func (r *reply) values(e *Error) error {
	depth := r.x.depth()
	for {
		begins, err := r.child(depth)
		if err != nil || !begins {
			return err
		}
		if r.x.name != (name{typesSpace, "Value"}) || r.x.attr("Name") != "BackOffMilliseconds" {
			continue
		}
		text, err := r.short()
		if err != nil {
			return err
		}
		if ms, err := strconv.ParseInt(text, 10, 64); err == nil && ms > 0 {
			e.BackOff = time.Duration(min(ms, backOffMost.Milliseconds())) * time.Millisecond
		}
	}
}

// each reads as many response messages as there were questions. read gets what one brings, and is called for those that
// have succeeded.
func (r *reply) each(n int, read func(i, depth int) error) ([]*backends.Failure, error) {
	defer r.Close()
	failures := make([]*backends.Failure, n)
	for i := range n {
		out, depth, err := r.message()
		if err == io.EOF {
			return nil, r.lacks("a response message for each item")
		} else if err != nil {
			return nil, err
		}
		if failures[i] = out.failure; out.failure != nil || read == nil {
			continue
		}
		if err := read(i, depth); err != nil {
			return nil, r.failed(err)
		}
	}
	if _, _, err := r.message(); err != io.EOF {
		if err == nil {
			err = backends.Fail(r.operation.unknown(), "%s: the reply of the server has more response messages than there were items", r.operation.name)
		}
		return nil, err
	}
	return failures, nil
}

// one does an operation that has one response message.
func one(r *reply, err error, read func(depth int) error) error {
	if err != nil {
		return err
	}
	failures, err := r.each(1, func(_, depth int) error {
		if read == nil {
			return nil
		}
		return read(depth)
	})
	switch {
	case err != nil:
		return err
	case failures[0] != nil:
		return failures[0]
	}
	return nil
}
