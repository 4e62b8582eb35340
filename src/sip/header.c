/* SPDX-License-Identifier: Apache-2.0
 *
 * header: the names. Headers with their compact forms (RFC 3261 section 7.3.3 and the IANA registry), methods, reason phrases. Pure look-ups.
 */
#include "sip/sip_int.h"

#define ROW(id, text, c, one) [id] = {.name = (text), .n = sizeof(text) - 1, .compact = (c), .single = (one)}

const struct sip_hdr_info sip_hdr_table[HDR_N] = {
    ROW(HDR_OTHER, "", 0, false),
    ROW(HDR_VIA, "Via", 'v', false),
    ROW(HDR_FROM, "From", 'f', true),
    ROW(HDR_TO, "To", 't', true),
    ROW(HDR_CALL_ID, "Call-ID", 'i', true),
    ROW(HDR_CSEQ, "CSeq", 0, true),
    ROW(HDR_CONTACT, "Contact", 'm', false),
    ROW(HDR_MAX_FORWARDS, "Max-Forwards", 0, true),
    ROW(HDR_ROUTE, "Route", 0, false),
    ROW(HDR_RECORD_ROUTE, "Record-Route", 0, false),
    ROW(HDR_CONTENT_TYPE, "Content-Type", 'c', true),
    ROW(HDR_CONTENT_LENGTH, "Content-Length", 'l', true),
    ROW(HDR_CONTENT_ENCODING, "Content-Encoding", 'e', false),
    ROW(HDR_CONTENT_DISPOSITION, "Content-Disposition", 0, false),
    ROW(HDR_ALLOW, "Allow", 0, false),
    ROW(HDR_SUPPORTED, "Supported", 'k', false),
    ROW(HDR_REQUIRE, "Require", 0, false),
    ROW(HDR_PROXY_REQUIRE, "Proxy-Require", 0, false),
    ROW(HDR_UNSUPPORTED, "Unsupported", 0, false),
    ROW(HDR_ACCEPT, "Accept", 0, false),
    ROW(HDR_EXPIRES, "Expires", 0, false),
    ROW(HDR_USER_AGENT, "User-Agent", 0, false),
    ROW(HDR_SERVER, "Server", 0, false),
    ROW(HDR_REASON, "Reason", 0, false),
    ROW(HDR_RETRY_AFTER, "Retry-After", 0, false),
    ROW(HDR_SUBJECT, "Subject", 's', false),
    ROW(HDR_DATE, "Date", 0, false),
    ROW(HDR_TIMESTAMP, "Timestamp", 0, false),
    ROW(HDR_AUTHORIZATION, "Authorization", 0, false),
    ROW(HDR_PROXY_AUTHORIZATION, "Proxy-Authorization", 0, false),
    ROW(HDR_WWW_AUTHENTICATE, "WWW-Authenticate", 0, false),
    ROW(HDR_PROXY_AUTHENTICATE, "Proxy-Authenticate", 0, false),
    ROW(HDR_DIVERSION, "Diversion", 0, false),
    ROW(HDR_HISTORY_INFO, "History-Info", 0, false),
    ROW(HDR_P_ASSERTED_IDENTITY, "P-Asserted-Identity", 0, false),
    ROW(HDR_P_PREFERRED_IDENTITY, "P-Preferred-Identity", 0, false),
    ROW(HDR_REMOTE_PARTY_ID, "Remote-Party-ID", 0, false),
    ROW(HDR_PRIVACY, "Privacy", 0, false),
    ROW(HDR_USER_TO_USER, "User-to-User", 0, false),
    ROW(HDR_EVENT, "Event", 'o', false),
    ROW(HDR_REFER_TO, "Refer-To", 'r', false),
    ROW(HDR_REPLACES, "Replaces", 0, false),
    ROW(HDR_SESSION_EXPIRES, "Session-Expires", 'x', false),
    ROW(HDR_MIN_SE, "Min-SE", 0, false),
    ROW(HDR_RSEQ, "RSeq", 0, false),
    ROW(HDR_RACK, "RAck", 0, false),
    ROW(HDR_WARNING, "Warning", 0, false),
};

const char *const sip_method_names[SIP_N_METHODS] = {
    [SIP_INVITE] = "INVITE",     [SIP_ACK] = "ACK",     [SIP_BYE] = "BYE",         [SIP_CANCEL] = "CANCEL",   [SIP_OPTIONS] = "OPTIONS",
    [SIP_REGISTER] = "REGISTER", [SIP_INFO] = "INFO",   [SIP_PRACK] = "PRACK",     [SIP_UPDATE] = "UPDATE",   [SIP_SUBSCRIBE] = "SUBSCRIBE",
    [SIP_NOTIFY] = "NOTIFY",     [SIP_REFER] = "REFER", [SIP_MESSAGE] = "MESSAGE", [SIP_PUBLISH] = "PUBLISH", [SIP_OTHER] = "?",
};

/* The table stands in the order of frequency: the six of every message are found in six comparisons of a length. */
enum sip_hdr_id sip_hdr_find(struct str name)
{
	if (name.n == 1) {
		char c = name.p[0] | 0x20;

		for (int i = 1; i < HDR_N; i++)
			if (sip_hdr_table[i].compact == c)
				return (enum sip_hdr_id)i;
		return HDR_OTHER;
	}
	for (int i = 1; i < HDR_N; i++)
		if (sip_hdr_table[i].n == name.n && str_ieq(str_n(sip_hdr_table[i].name, sip_hdr_table[i].n), name))
			return (enum sip_hdr_id)i;
	return HDR_OTHER;
}

/* RFC 3261 section 7.1: method names are case-sensitive. */
enum sip_method sip_method_find(struct str text)
{
	for (int i = 0; i < SIP_OTHER; i++)
		if (str_eq(str_z(sip_method_names[i]), text))
			return (enum sip_method)i;
	return SIP_OTHER;
}

/* clang-format off */
static const struct {
	int status;
	const char *text;
} reasons[] = {
	{100, "Trying"}, {180, "Ringing"}, {181, "Call Is Being Forwarded"}, {182, "Queued"}, {183, "Session Progress"}, {200, "OK"}, {202, "Accepted"},
	{300, "Multiple Choices"}, {301, "Moved Permanently"}, {302, "Moved Temporarily"}, {305, "Use Proxy"}, {380, "Alternative Service"},
	{400, "Bad Request"}, {401, "Unauthorized"}, {402, "Payment Required"}, {403, "Forbidden"}, {404, "Not Found"}, {405, "Method Not Allowed"},
	{406, "Not Acceptable"}, {407, "Proxy Authentication Required"}, {408, "Request Timeout"}, {410, "Gone"}, {413, "Request Entity Too Large"},
	{414, "Request-URI Too Long"}, {415, "Unsupported Media Type"}, {416, "Unsupported URI Scheme"}, {420, "Bad Extension"}, {421, "Extension Required"},
	{422, "Session Interval Too Small"}, {423, "Interval Too Brief"}, {480, "Temporarily Unavailable"}, {481, "Call/Transaction Does Not Exist"},
	{482, "Loop Detected"}, {483, "Too Many Hops"}, {484, "Address Incomplete"}, {485, "Ambiguous"}, {486, "Busy Here"}, {487, "Request Terminated"},
	{488, "Not Acceptable Here"}, {489, "Bad Event"}, {491, "Request Pending"}, {493, "Undecipherable"}, {500, "Server Internal Error"},
	{501, "Not Implemented"}, {502, "Bad Gateway"}, {503, "Service Unavailable"}, {504, "Server Time-out"}, {505, "Version Not Supported"},
	{513, "Message Too Large"}, {600, "Busy Everywhere"}, {603, "Decline"}, {604, "Does Not Exist Anywhere"}, {606, "Not Acceptable"},
};
/* clang-format on */
static const char *const reason_classes[] = {"Progress", "Success", "Redirected", "Request Failed", "Server Failed", "Global Failure"};

const char *sip_reason(int status)
{
	for (size_t i = 0; i < N_ELEMENTS(reasons); i++)
		if (reasons[i].status == status)
			return reasons[i].text;
	return status >= 100 && status < 700 ? reason_classes[status / 100 - 1] : "Unknown";
}
