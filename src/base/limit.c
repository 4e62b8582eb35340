/* SPDX-License-Identifier: Apache-2.0
 *
 * limit: every bound on what the outside can make us hold, one row each. The number is the last that is allowed; `over` says what happens with the
 * next one, always before anything is committed. Read by all rooms, printed by `hookswitch limits`, tested at the limit and one past it.
 */
#include "base/base.h"

#define KIB 1024u
#define MIB (1024u * KIB)

const struct limit_info limit_table[LIMIT_N] = {
    [LIMIT_SIP_MESSAGE] = {"sip_message", 65535, "bytes", "UDP: cannot be more; TCP: the connection is closed"},
    [LIMIT_SIP_HEADERS] = {"sip_headers", 128, "headers", "a request is answered 400, a response is dropped"},
    [LIMIT_SIP_URI] = {"sip_uri", 1024, "bytes", "a request is answered 414, a response is dropped"},
    [LIMIT_SDP] = {"sdp", 16384, "bytes", "the offer is answered 488"},
    [LIMIT_SDP_MEDIA] = {"sdp_media", 16, "media lines", "the offer is answered 488"},
    [LIMIT_SDP_FORMATS] = {"sdp_formats", 64, "formats of a media line", "the offer is answered 488"},
    [LIMIT_TCP_CONNECTIONS] = {"tcp_connections", 2000, "connections", "the new connection is closed"},
    [LIMIT_TRANSACTIONS] = {"transactions", 50000, "transactions", "a request is answered 503 without a transaction"},
    [LIMIT_NUMBER] = {"number", 32, "characters", "the call is answered 404"},
    [LIMIT_NUMBERS] = {"numbers", 4096, "files in the services folder, and sections of numbers",
		       "the file is not taken and named in an error; the configuration is refused"},
    [LIMIT_DOCUMENT] = {"document", 65536, "bytes", "the document is refused: error 11750"},
    [LIMIT_DOCUMENT_DEPTH] = {"document_depth", 32, "elements inside each other", "the document is refused: error 12100"},
    [LIMIT_DOCUMENT_NODES] = {"document_nodes", 1000, "elements", "the document is refused: error 12100"},
    [LIMIT_SAY_TEXT] = {"say_text", 4096, "characters", "the rest is not spoken: error 13511"},
    [LIMIT_SAY_SECONDS] = {"say_seconds", 300, "seconds of speech", "the rest is not spoken"},
    [LIMIT_AUDIO_BODY] = {"audio_body", 16 * MIB, "bytes", "the sound is refused: error 11750"},
    [LIMIT_CGI_OUTPUT] = {"cgi_output", 16 * MIB, "bytes", "the script is ended: error 11200"},
    [LIMIT_CGI_HEADER] = {"cgi_header", 16 * KIB, "bytes", "the script is ended: error 11200"},
    [LIMIT_CGI_STDERR] = {"cgi_stderr", 64 * KIB, "bytes", "the oldest bytes are dropped"},
    [LIMIT_CGI_FORM] = {"cgi_form", 64 * KIB, "bytes", "the script is not started: error 11200"},
    [LIMIT_CGI_RUNS] = {"cgi_runs", 256, "scripts at once", "the script is not started: error 11200"},
    [LIMIT_REDIRECTS] = {"redirects", 100, "documents in a row without a verb that takes time", "the call ends: error 11215"},
    [LIMIT_REDIRECTS_FETCH] = {"redirects_fetch", 10, "redirects of a fetch", "the fetch fails: error 11215"},
    [LIMIT_LOOP] = {"loop", 1000, "turns of a verb", "more turns are not made; loop=\"0\" is this many"},
    [LIMIT_SOUND_CACHE] = {"sound_cache", 256 * MIB, "bytes", "the sound that was unused for longest is dropped"},
    [LIMIT_CALL_TEXT] = {"call_text", 256 * KIB, "bytes of text kept for a call", "the message or document that brings it is refused"},
    [LIMIT_HTTP_CONNECTIONS] = {"http_connections", 100, "connections", "the new connection is closed"},
    [LIMIT_FETCHES] = {"fetches", 4096, "requests to web services", "the request is not made just now: it is tried again until its deadline"},
    [LIMIT_FETCHES_ORIGIN] = {"fetches_origin", 256, "requests at once to one origin", "the request waits, within its own time"},
    [LIMIT_FETCH_URL] = {"fetch_url", 8192, "bytes", "the request fails: error 11100"},
    [LIMIT_FETCH_BODIES] = {"fetch_bodies", 512 * MIB, "bytes of answers being received", "the request fails: error 11200"},
    [LIMIT_COOKIES] = {"cookies", 32 * KIB, "bytes of a call's cookies", "the cookie is not kept"},
    [LIMIT_GATHER] = {"gather", 120, "digits of a Gather", "the Gather is complete"},
    [LIMIT_CONFIG] = {"config", 1 * MIB, "bytes of the configuration file", "it is refused: nothing is started, or nothing changes"},
};
