/* SPDX-License-Identifier: Apache-2.0
 *
 * sdp: session descriptions (RFC 8866, formerly 4566) and the offer/answer model (RFC 3264), for one audio stream. Pure functions: no clock, no door, no
 * memory of their own. Parsed structs hold views into the text they were parsed from.
 */
#pragma once
#include "base/base.h"

enum sdp_dir { SDP_SENDRECV, SDP_SENDONLY, SDP_RECVONLY, SDP_INACTIVE };
#define SDP_MEDIA_MAX 16 /* = LIMIT_SDP_MEDIA */
#define SDP_FMT_MAX   64 /* = LIMIT_SDP_FORMATS */

struct sdp_fmt {
	uint8_t pt;
	uint32_t rate_hz; /* 0 = no rtpmap (static payload type: filled from RFC 3551) */
	uint8_t channels; /* 1 unless the rtpmap says otherwise */
	struct str name;  /* encoding name of rtpmap */
	struct str fmtp;
};
struct sdp_media {
	struct str type, proto, fmt_text; /* "audio", "RTP/AVP", the formats as written */
	uint16_t port;      /* 0 = refused or disabled */
	struct addr conn;   /* c= of the media or of the session; family 0 = none or a name; port 0 */
	struct addr rtcp;   /* a=rtcp (RFC 3605) or conn with port + 1 */
	enum sdp_dir dir;   /* as the sender says it */
	int ptime_ms;       /* 0 = not said */
	bool rtcp_mux;
	struct sdp_fmt fmt[SDP_FMT_MAX];
	int n_fmt;
};
struct sdp {
	struct str origin;  /* value of o= */
	struct str time;    /* value of the first t=: an answer repeats it (RFC 3264 section 6) */
	uint64_t version;   /* of o= */
	struct sdp_media media[SDP_MEDIA_MAX];
	int n_media;
};

/* -EBADMSG (malformed), -E2BIG (a limit; counted). Accepts LF and CRLF. On error *ret is unspecified. */
int sdp_parse(struct str in, struct sdp *ret) _must_;

/* What we are: for offers and answers. */
struct sdp_local {
	struct addr rtp;        /* address and port we receive RTP on; RTCP one above */
	uint64_t session, version; /* of o=: session stays, version grows by one when the text changes */
	enum sdp_dir dir;       /* what we wish: SDP_SENDRECV mostly */
	const enum codec_id *codecs; /* in order of liking; NULL = all of the codec table */
	int n_codecs;
};
/* What was agreed. */
struct sdp_agreed {
	int media;              /* index of the audio stream; the others are refused with port 0 */
	enum codec_id codec;
	uint8_t codec_pt, dtmf_pt; /* payload types as the peer wants them; dtmf_pt 0 = no telephone-event */
	uint8_t codec_pt_in, dtmf_pt_in; /* as they will come in */
	struct addr remote, remote_rtcp; /* where to send; family 0 = peer has no address (0.0.0.0 or a name): send nothing until learned */
	enum sdp_dir dir;       /* ours: SENDRECV, SENDONLY, RECVONLY (we are held by sendonly), INACTIVE */
};
/* Writes our answer to an offer. 0; -ENOTSUP = nothing in common (488); -ENOSPC. One m= line for each of the offer, in order; hold (a=sendonly, inactive, c=0.0.0.0) mirrored. */
int sdp_answer(const struct sdp *offer, const struct sdp_local *us, struct out *o, struct sdp_agreed *ret) _must_;
int sdp_offer(const struct sdp_local *us, struct out *o) _must_;
/* Reads the answer to our offer `us`. -ENOTSUP = refused or nothing we offered. */
int sdp_agree(const struct sdp *answer, const struct sdp_local *us, struct sdp_agreed *ret) _must_;
const char *sdp_dir_name(enum sdp_dir d);
