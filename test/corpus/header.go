package corpus

import (
	"fmt"
	"strings"
)

// headerMessages have header fields that parsers, and programs that copy headers, get wrong.
func headerMessages() []Message {
	return inspected(
		headed("folded", "X-Folded: one\r\n two\r\n\tthree\r\n    four\r\n", "body\r\n"),
		headed("folded-empty-start", "X-Folded:\r\n value on the second line\r\n", "body\r\n"),
		headed("folded-whitespace-only", "X-Folded: text\r\n \r\n\t\r\n   \r\n end\r\n", "body\r\n"),
		headed("folded-last", "X-Folded: text\r\n \t \r\n", "body\r\n"),
		raw("folded-first", " a continuation of nothing\r\n"+head("folded-first")+"\r\nbody\r\n"),
		headed("folded-many", "X-Folded: 0\r\n"+numbered(" line %d of the same field\r\n", 500), "body\r\n"),
		headed("trailing-space", "X-Space: value   \r\nX-Tab: value\t\r\n", "body\r\n"),
		headed("empty-values", "X-Empty:\r\nX-Space: \r\nX-Tab:\t\r\n", "body\r\n"),
		headed("no-space", "X-Tight:value\r\nX-Wide:     value\r\n", "body\r\n"),
		headed("space-before-colon", "X-Obsolete : value\r\nX-Tab\t: value\r\n", "body\r\n"),
		headed("odd-names", "x-lower: 1\r\nX-UPPER: 2\r\nX_Under: 3\r\n!#$%&'*+-.^_`|~: 4\r\n9: 5\r\n:: 6\r\n", "body\r\n"),
		headed("no-colon", "this line is not a field\r\nX-After: 1\r\n", "body\r\n"),
		headed("same-field-twice", "Subject: again\r\nFrom: mallory@corpus.example\r\nX-A: 1\r\nX-A: 2\r\nX-A: 1\r\n", "body\r\n"),
		headed("many-fields", numbered("X-Field-%d: value\r\n", 1000), "body\r\n"),
		headed("long-field-folded", "References:"+numbered("\r\n <%08d@corpus.example>", 2000)+"\r\n", "body\r\n"),
		headed("long-header", numbered("X-Long-%d: "+strings.Repeat("v", 900)+"\r\n", 100), "body\r\n"),
		headed("many-recipients", "Cc: "+numbered("user%d@corpus.example,\r\n ", 400)+"last@corpus.example\r\n", "body\r\n"),
		headed("received-chain", receivedChain(20), "body\r\n"),
		headed("return-path", "Return-Path: <somebody@else.example>\r\nDelivered-To: max@corpus.example\r\n", "body\r\n"),
		raw("return-path-first", "Return-Path: <somebody@else.example>\r\n"+head("return-path-first")+"\r\nbody\r\n"),
		raw("received-first", receivedChain(1)+head("received-first")+"\r\nbody\r\n"),
		headed("resent", "Resent-From: max@corpus.example\r\nResent-To: eva@corpus.example\r\nResent-Date: Tue, 10 Nov 2026 08:01:02 +0100\r\nResent-Message-ID: <r@corpus.example>\r\n", "body\r\n"),
		headed("bcc", "Bcc: secret@corpus.example\r\n", "body\r\n"),
		headed("mbox-leftovers", "Status: RO\r\nX-Status: A\r\nX-UID: 17\r\nX-UIDL: 0001\r\nContent-Length: 99999\r\nLines: 3\r\nX-IMAP: 1 2\r\n", "body\r\n"),
		headed("groups", "Reply-To: Undisclosed recipients:;, A Group:a@corpus.example,b@corpus.example;\r\n", "body\r\n"),
		headed("comments", "Sender: (a (nested (comment) with \\) ) here) erika@corpus.example (again)\r\n", "body\r\n"),
		headed("quoted-pairs", "Reply-To: \"back\\\\slash \\\"quote\\\" and, comma\" <\"odd local\\ part\"@corpus.example>\r\n", "body\r\n"),
		headed("routes", "Reply-To: <@one.example,@two.example:erika@corpus.example>, erika . muster @ corpus . example\r\n", "body\r\n"),
		headed("literal-domain", "Reply-To: erika@[192.0.2.1], max@[IPv6:2001:db8::1]\r\n", "body\r\n"),
		headed("odd-dates", "Date: 9 Nov 26 8:01 EST\r\nDate: yesterday\r\nResent-Date: Mon, 32 Foo 2026 25:61:61 +9999\r\n", "body\r\n"),
		headed("list", "List-Id: <corpus.example>\r\nList-Unsubscribe: <mailto:leave@corpus.example>,\r\n\t<https://corpus.example/leave>\r\nPrecedence: bulk\r\n", "body\r\n"),
		headed("dkim-like", "DKIM-Signature: v=1; a=rsa-sha256; d=corpus.example; s=x;\r\n\th=from:to:subject; bh="+strings.Repeat("A", 43)+"=;\r\n\tb="+strings.Repeat("B", 60)+"\r\n\t "+strings.Repeat("C", 60)+"==\r\n", "body\r\n"),
		headed("message-id-odd", "Message-ID: no brackets\r\nIn-Reply-To: <a b c>\r\nReferences: <>\r\n", "body\r\n"),
		raw("no-blank-line", head("no-blank-line")+"this is meant as a body but no empty line comes first\r\nand goes on\r\n"),
		raw("blank-line-with-space", head("blank-line-with-space")+" \r\nIs this the body?\r\n"),
	)
}

// numbered is a format repeated, with 0, 1, 2, … put in.
func numbered(format string, times int) string {
	var b strings.Builder
	for n := range times {
		fmt.Fprintf(&b, format, n)
	}
	return b.String()
}

// receivedChain is the trace of as many hops, fewer than any loop detection allows.
func receivedChain(hops int) string {
	var b strings.Builder
	for n := hops; n > 0; n-- {
		fmt.Fprintf(&b, "Received: from host%d.example (host%d.example [192.0.2.%d])\r\n\tby host%d.example with ESMTPS id %08x\r\n\tfor <max@corpus.example>; Mon, 09 Nov 2026 08:%02d:00 +0100\r\n",
			n, n, n, n+1, n*7919, n)
	}
	return b.String()
}

// wordMessages have encoded words (RFC 2047) and parameters (RFC 2231) right and wrong.
func wordMessages() []Message {
	subject := func(name, value string) Message {
		return headed(name, "X-Words: "+value+"\r\nComments: "+value+"\r\n", "body\r\n")
	}
	disposition := func(name, parameters string) Message {
		return multipart(name, "mixed", "", "words-"+name, plainPart("See the attachment.\r\n"),
			part(binary64+"Content-Disposition: attachment"+parameters+"\r\n", wrapped([]byte("content"))))
	}
	return inspected(
		subject("q", "=?iso-8859-1?Q?Gr=FC=DFe_aus_K=F6ln?="),
		subject("b", "=?utf-8?B?R3LDvMOfZSBhdXMgS8O2bG4=?="),
		subject("adjacent", "=?utf-8?Q?one?= =?utf-8?Q?two?=\r\n =?utf-8?Q?three?="),
		subject("split-character", "=?utf-8?B?8J+Y?= =?utf-8?B?gA==?="),
		subject("lower-case", "=?utf-8?q?=c3=a4?= =?utf-8?b?w6Q=?="),
		subject("too-long", "=?utf-8?B?"+strings.Repeat("R3LDvMOfZSAh", 40)+"?="),
		subject("not-closed", "=?utf-8?Q?open"),
		subject("unknown-charset", "=?x-klingon?Q?=FF=FE?="),
		subject("unknown-encoding", "=?utf-8?X?abc?="),
		subject("language", "=?utf-8*de?Q?=C3=9C?="),
		subject("inside-quotes", "\"=?utf-8?Q?=C3=9C?=\" <a@corpus.example>"),
		subject("bad-base64", "=?utf-8?B?R3LDvMO?="),
		subject("bad-hex", "=?utf-8?Q?=G1=2?="),
		subject("with-line-end", "=?utf-8?Q?a=0D=0AX-Injected:_1?="),
		subject("with-nul", "=?utf-8?Q?a=00b?="),
		subject("no-space-between", "a=?utf-8?Q?b?=c"),
		disposition("filename-2231", "; filename*=utf-8''%E2%82%AC%20rates.txt"),
		disposition("filename-continued", ";\r\n filename*0*=utf-8''%E2%82%AC; filename*1=\" rates\";\r\n filename*2*=%2Etxt"),
		disposition("filename-word", "; filename=\"=?utf-8?Q?=E2=82=AC?=.txt\""),
		disposition("filename-path", "; filename=\"../../../etc/passwd\""),
		disposition("filename-windows", "; filename=\"C:\\\\temp\\\\a:b*c?.txt\""),
		disposition("filename-long", "; filename=\""+strings.Repeat("long", 80)+".txt\""),
		disposition("filename-empty", "; filename=\"\""),
		disposition("filename-unquoted", "; filename=two words.txt"),
	)
}
