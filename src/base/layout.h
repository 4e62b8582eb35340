/* SPDX-License-Identifier: Apache-2.0
 *
 * layout: everything that stands in the slab, the memory that outlives a worker.
 *
 * This is the one place where the layout is written down. A call is a `struct call_record`, each of its legs a `struct leg_record` (both written
 * by the sig thread) and a `struct media_line` (written by the leg's media thread). Text (the INVITE as received, documents, URLs) stands in the
 * block heap of the same memfd and is named by `struct text`. Rules: text first, then the record that names it; a record is written before the
 * packet that commits the peer; all numbers are host order, a slab never leaves the machine. A size that changes without SLAB_LAYOUT fails the build.
 */
#pragma once
#include <stdint.h>

#define SLAB_MAGIC  0x574b4f4f48ULL /* "HOOKW" */
#define SLAB_LAYOUT 1

typedef uint64_t handle; /* slot in the low 32 bits, generation in the high 32; 0 is nobody. A handle to the dead resolves to NULL. */

/* An IP address and port. family: AF_INET, AF_INET6 or 0 (none). IPv4 stands in ip[0..3]; never as a mapped IPv6 address. port: host order. */
struct addr {
	uint16_t family, port;
	uint32_t scope; /* IPv6 scope id */
	uint8_t ip[16];
};

enum flow_kind { FLOW_NONE, FLOW_UDP, FLOW_TCP };

/* Where bytes came from and where the answer goes: all that sip/ knows of a transport. Plain data; may be copied and kept. */
struct flow {
	uint8_t kind;     /* enum flow_kind */
	uint8_t listener; /* number of the --sip listener it belongs to */
	uint16_t pad;
	uint32_t conn; /* TCP: number of the connection, the same after a restart; 0 for UDP */
	struct addr local, peer;
};

/* A block of write-once text in the heap of the slab; n == 0 is none. */
struct text {
	uint32_t off, n;
};

/* Head of the slab. */
struct slab_head {
	uint64_t magic;
	uint32_t layout, call_size, leg_size, line_size;
	uint32_t n_calls, n_legs, heap_size; /* slots, slots, bytes */
	uint32_t node;
	uint8_t boot_id[16];
	uint8_t key[16];  /* of the ids this node hands out (sip_id): random, made with the slab */
	uint8_t account[16];
	uint64_t restarts; /* workers that have adopted this slab */
	uint64_t pad[16];
};

/* First words of each copy of a record. The copy with the higher generation and a right CRC counts. */
struct record_head {
	uint32_t crc;        /* CRC32C of all behind this word */
	uint32_t generation; /* of this commit; 0 = never written */
};

enum call_dir { CALL_INBOUND, CALL_OUTBOUND };
enum req_kind { REQ_NONE, REQ_CGI, REQ_STATIC, REQ_WEB }; /* what is asked for the next document */

#define VERB_DEPTH 8

/* What the interpreter has to know to go on where it was. Owner: verb/; it stands inside the call record and is committed with it. */
struct app_record {
	struct text doc;        /* the document, as received */
	struct text doc_type;   /* its content type */
	struct text base_url;   /* what relative URLs in it are resolved against */
	struct text req_url;    /* of the request in flight */
	struct text req_form;   /* its extra parameters (Digits=…&…) */
	uint8_t req_token[16];  /* from the first attempt to the last */
	uint32_t req_number;    /* 1, 2, 3 … in this call; a reply is applied only if the record waits for its number */
	uint8_t req_kind;       /* enum req_kind; REQ_NONE = no request in flight */
	uint8_t req_attempt;
	uint8_t verb_state;     /* of the verb being run; each verb's own enum */
	uint8_t path_n;         /* how deep the verb stands in the document */
	uint16_t path[VERB_DEPTH]; /* index of the element at each depth */
	uint32_t loop;          /* turns of the verb done */
	uint32_t play_number;   /* of the last play ordered; media counts with it */
	uint32_t piece;         /* which piece of a Say or Play is being heard */
	uint32_t redirects;     /* in a row without a verb that takes time */
	uint32_t digit_taken;   /* number of the last digit consumed */
	uint32_t error;         /* last error code of call-control tables */
	int64_t req_deadline_ms; /* boottime */
	int64_t deadline_ms;     /* boottime; of the verb (Pause …); 0 none */
	struct text cookies;     /* the call's jar, as web/ handed it out */
	struct text error_url;   /* what failed, while the fallback is asked */
	struct text number_key;  /* name of the number that answers: its section or file */
	struct text callbacks;   /* status callbacks that are due, not yet acknowledged by the store */
	uint8_t req_fallback;    /* 1: the request in flight asks the fallback URL */
	uint8_t req_method;      /* 0 POST, 1 GET */
	uint8_t gather_n;        /* digits collected by the Gather being run … */
	uint8_t nest;            /* nested verb of a Gather being played */
	char gather[124];        /* … and what they are */
	int64_t req_marked_ms;   /* boottime of the mark: a runner that began later cannot know whether the script was started */
	uint32_t callback_seq;   /* BIT(enum callback_event) of the status callbacks ordered so far; how many they are is the SequenceNumber of the next */
	uint64_t pad[1];
};

struct call_record {
	struct record_head head;
	uint32_t gen;     /* of the slot; with it, a handle */
	uint8_t state;    /* enum call_state; 0 = free slot */
	uint8_t dir;      /* enum call_dir */
	uint8_t hangup_by; /* enum call_party */
	uint8_t stored;   /* 1: the row of the start is ordered from the store, 2: that of the end, 3: acknowledged */
	uint8_t sid[16];  /* CallSid without "CA" */
	uint8_t account[16];
	uint32_t leg;     /* slot of its leg */
	uint16_t status;  /* final SIP status, 0 none yet */
	uint16_t cause;   /* Q.850 */
	int64_t created_ms, answered_ms, ended_ms;               /* UTC */
	int64_t created_boot_ms, answered_boot_ms, ended_boot_ms; /* boottime: what durations are computed from */
	struct text number; /* as dialled, decoded */
	struct app_record app;
	uint8_t pad[92];
};

/* A dialog and its leg. Strings of the dialog are views into `invite` (we are UAS) or `invite` and `answer` (we are UAC), parsed again at adoption. */
struct leg_record {
	struct record_head head;
	uint32_t gen;
	uint8_t state;   /* enum leg_state; 0 = free slot */
	uint8_t kind;    /* enum leg_kind */
	uint8_t uac;     /* 1: we sent the INVITE */
	uint8_t held;    /* the peer holds us: direction of the last offer, enum sdp_dir */
	uint32_t call;   /* slot of its call */
	uint32_t local_cseq, remote_cseq;
	uint32_t done_cseq;    /* last in-dialog request of the peer that was executed … */
	uint16_t done_status;  /* … and the status it was given; a repeat is answered from here */
	uint16_t invite_status; /* last status sent or received for the open INVITE (first or re-); 0 none */
	uint32_t invite_cseq;  /* of that INVITE */
	uint8_t invite_open;   /* 1: an INVITE transaction has no ACK yet */
	uint8_t done_method, req_method, req_open; /* req_*: our own request in flight */
	uint32_t req_cseq;
	uint32_t req_branch;   /* random part of its branch: sent again with the same branch after adoption */
	uint32_t rnd;          /* random part of our tag */
	int64_t req_deadline_ms;
	int64_t ack_deadline_ms; /* until when 2xx are repeated */
	int64_t ring_at_ms;      /* next 180 */
	int64_t quiet_at_ms;     /* probe or end because nothing was heard */
	int64_t max_at_ms;       /* end by max_call_s */
	struct text invite;     /* first INVITE, as received or sent */
	struct text answer;     /* first 2xx, as received or sent */
	struct text offer_in;   /* last INVITE of the peer (re-INVITE), as received */
	struct text sdp_local, sdp_remote; /* last ones in force */
	struct text target;     /* remote target when a later request changed it */
	struct flow flow;       /* where our requests go */
	uint32_t sdp_version;
	uint32_t ssrc;
	uint16_t rtp_port;      /* local port of RTP; RTCP is one above */
	uint8_t rtp_pool;       /* which pool of ports */
	uint8_t media_thread;
	uint8_t codec_pt, dtmf_pt; /* negotiated payload types; dtmf_pt 0 = none */
	uint8_t codec;           /* enum codec_id */
	uint8_t codec_pt_in, dtmf_pt_in; /* payload types as they come in */
	uint8_t dir;             /* ours, enum sdp_dir */
	uint8_t offered;         /* 1: our 2xx carried an offer; the ACK brings the answer */
	uint8_t probing;         /* 1: the request in flight asks whether the peer is still there */
	struct addr media_peer, media_peer_rtcp; /* as agreed by SDP */
	uint32_t info_cseq;      /* last digit that came by INFO: told to the stream again after a restart, which knows it by this number */
	uint32_t info_ms;
	char info_digit;
	uint8_t pad[231];
};

#define LINE_DIGITS 16

/* What a media thread must know to go on: one writer, fields written one by one, each valid alone. */
struct media_line {
	uint32_t gen;       /* of the leg that owns it; 0 free */
	uint32_t ssrc;      /* ours */
	int64_t start_ms;   /* boottime of packet 0: sequence and timestamp follow from the clock */
	uint32_t ts0;       /* timestamp of packet 0 */
	uint16_t seq0;      /* sequence of packet 0 */
	uint8_t latched;    /* remote is locked */
	uint8_t playing;    /* 1: a play is on */
	struct addr remote; /* learned or signalled */
	struct addr remote_rtcp;
	uint32_t peer_ssrc;
	uint32_t play_number; /* which order of sig is being played */
	uint32_t play_pos;    /* next sample of it, 8 kHz units */
	uint32_t play_loop;   /* turns of it done */
	uint32_t digit_n;     /* number of the last digit heard; it stands in digits[digit_n % LINE_DIGITS] */
	char digits[LINE_DIGITS];
	uint32_t tele_ts;     /* RTP timestamp of the last telephone-event taken: repeats are no new digit */
	uint32_t packets_out;
	uint64_t octets_out;
	uint32_t packets_in, lost_in;
	int64_t heard_ms;     /* boottime of the last valid packet in */
	uint32_t info_cseq;   /* CSeq of the last INFO whose digit stands in the ring */
	uint8_t pad[108];
};

_Static_assert(sizeof(struct addr) == 24, "layout: addr");
_Static_assert(sizeof(struct flow) == 56, "layout: flow");
_Static_assert(sizeof(struct slab_head) == 224, "layout: slab_head");
_Static_assert(sizeof(struct call_record) == 512, "layout: call_record");
_Static_assert(sizeof(struct leg_record) == 512, "layout: leg_record");
_Static_assert(sizeof(struct media_line) == 256, "layout: media_line");
