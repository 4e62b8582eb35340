/* SPDX-License-Identifier: Apache-2.0
 *
 * table: the verbs and their attributes, one table (house rule 12): the interpreter, lint, help and reference are printed from it. Verbs that the field knows and this
 * version does not serve stand here too, so that they are told from mistakes: 13750 when reached. Also which elements may stand inside a Say. Pure.
 */
#include "verb/inside.h"

static const struct verb_attr connect_attrs[] = {
    {"action", "", "URL", "asked when it is over"},
    {"method", "POST", "GET, POST", "how the URL is asked"},
};

static const struct verb_attr dial_attrs[] = {
    {"action", "", "URL", "asked when it is over"},
    {"answerOnBridge", "false", "true, false", "answer when the other side does"},
    {"callerId", "the caller", "number", "shown to the callee"},
    {"callReason", "", "1 to 50 characters", "shown to the callee"},
    {"events", "", "call-progress-event", "sent to action"},
    {"hangupOnStar", "false", "true, false", "* ends the inner call"},
    {"method", "POST", "GET, POST", "how the URL is asked"},
    {"passports", "", "text", "STIR tokens to pass on"},
    {"record", "do-not-record", "do-not-record, record-from-answer, record-from-ringing, and -dual", "what is recorded"},
    {"recordingConfigurationId", "", "text", "accepted"},
    {"recordingStatusCallback", "", "URL", "is told of the recording"},
    {"recordingStatusCallbackMethod", "POST", "GET, POST", "how it is told"},
    {"recordingStatusCallbackEvent", "completed", "in-progress, completed, absent", "what it is told"},
    {"recordingTrack", "both", "both, inbound, outbound", "whose voice is recorded"},
    {"referMethod", "POST", "GET, POST", "how referUrl is asked"},
    {"referUrl", "", "URL", "asked when the callee transfers"},
    {"ringTone", "", "country", "what the caller hears meanwhile"},
    {"sequential", "false", "true, false", "one after the other"},
    {"timeLimit", "14400", "1 to 14400 s", "longest talk"},
    {"timeout", "30", "5 to 600 s", "longest ringing"},
    {"trim", "do-not-trim", "trim-silence, do-not-trim", "silence of the recording"},
};

static const struct verb_attr enqueue_attrs[] = {
    {"action", "", "URL", "asked when it is over"},
    {"maxQueueSize", "100", "1 to 5000", "callers"},
    {"method", "POST", "GET, POST", "how the URL is asked"},
    {"waitUrl", "", "URL", "document heard while waiting"},
    {"waitUrlMethod", "POST", "GET, POST", "how it is asked"},
    {"workflowSid", "", "text", "accepted"},
};

static const struct verb_attr gather_attrs[] = {
    {"action", "this document", "URL", "gets what was entered"},
    {"actionOnEmptyResult", "false", "true, false", "asks also without input"},
    {"bargeIn", "true", "true, false", "input cuts the prompt"},
    {"debug", "false", "true, false", "accepted"},
    {"enhanced", "false", "true, false", "accepted"},
    {"finishOnKey", "#", "a key or empty", "ends the input"},
    {"hints", "", "up to 500 phrases", "words to expect"},
    {"input", "dtmf", "dtmf, speech", "what is collected"},
    {"language", "en-US", "language tag", "of the speech"},
    {"maxSpeechTime", "60", "from 1 s", "longest speech"},
    {"method", "POST", "GET, POST", "how the URL is asked"},
    {"numDigits", "", "from 1", "that many end the input"},
    {"partialResultCallback", "", "URL", "is told while one speaks"},
    {"partialResultCallbackMethod", "POST", "GET, POST", "how it is told"},
    {"profanityFilter", "true", "true, false", "accepted"},
    {"speechModel", "", "text", "accepted"},
    {"speechTimeout", "timeout", "auto or seconds", "silence that ends speech"},
    {"timeout", "5", "from 1 s", "silence that ends the input"},
};

static const struct verb_attr pause_attrs[] = {
    {"length", "1", "0 to 14400 s", "how long"},
};

static const struct verb_attr pay_attrs[] = {
    {"action", "", "", "accepted"},
    {"bankAccountType", "", "", "accepted"},
    {"chargeAmount", "", "", "accepted"},
    {"currency", "", "", "accepted"},
    {"description", "", "", "accepted"},
    {"input", "", "", "accepted"},
    {"language", "", "", "accepted"},
    {"maxAttempts", "", "", "accepted"},
    {"minPostalCodeLength", "", "", "accepted"},
    {"method", "", "", "accepted"},
    {"paymentConnector", "", "", "accepted"},
    {"paymentMethod", "", "", "accepted"},
    {"postalCode", "", "", "accepted"},
    {"securityCode", "", "", "accepted"},
    {"statusCallback", "", "", "accepted"},
    {"statusCallbackMethod", "", "", "accepted"},
    {"timeout", "", "", "accepted"},
    {"tokenType", "", "", "accepted"},
    {"validCardTypes", "", "", "accepted"},
};

static const struct verb_attr play_attrs[] = {
    {"digits", "", "0-9 * # A-D w W, at most 63", "sent instead of a sound; w half a second, W a second"},
    {"loop", "1", "0 to 1000", "turns; 0: 1000"},
};

static const struct verb_attr prompt_attrs[] = {
    {"attempt", "", "", "accepted"},
    {"cardType", "", "", "accepted"},
    {"errorType", "", "", "accepted"},
    {"for", "", "", "accepted"},
    {"requireMatchingInputs", "", "", "accepted"},
};

static const struct verb_attr queue_attrs[] = {
    {"method", "POST", "GET, POST", "how the URL is asked"},
    {"postWorkActivitySid", "", "text", "accepted"},
    {"reservationSid", "", "text", "accepted"},
    {"url", "", "URL", "document for the caller before"},
};

static const struct verb_attr record_attrs[] = {
    {"action", "this document", "URL", "asked when it is over"},
    {"finishOnKey", "1234567890*#", "keys", "end it"},
    {"maxLength", "3600", "from 1 s", "longest recording"},
    {"method", "POST", "GET, POST", "how the URL is asked"},
    {"playBeep", "true", "true, false", "a tone before"},
    {"recordingConfigurationId", "", "text", "accepted"},
    {"recordingStatusCallback", "", "URL", "is told of the recording"},
    {"recordingStatusCallbackMethod", "POST", "GET, POST", "how it is told"},
    {"recordingStatusCallbackEvent", "completed", "in-progress, completed, absent", "what it is told"},
    {"timeout", "5", "seconds; 0: off", "silence that ends it"},
    {"transcribe", "false", "true, false", "text of it"},
    {"transcribeCallback", "", "URL", "gets the text"},
    {"trim", "trim-silence", "trim-silence, do-not-trim", "silence at the ends"},
};

static const struct verb_attr redirect_attrs[] = {
    {"method", "POST", "GET, POST", "how the URL is asked"},
};

static const struct verb_attr refer_attrs[] = {
    {"action", "", "URL", "asked when it is over"},
    {"method", "POST", "GET, POST", "how the URL is asked"},
};

static const struct verb_attr reject_attrs[] = {
    {"reason", "rejected", "rejected, busy", "busy: 486; rejected: the configured status (404)"},
};

static const struct verb_attr say_attrs[] = {
    {"language", "en-US", "language tag", "of the text"},
    {"loop", "1", "0 to 1000", "turns; 0: 1000"},
    {"voice", "slt", "kal, slt, man, woman; others are mapped", "who speaks"},
};

static const struct verb_attr sms_attrs[] = {
    {"action", "", "URL", "asked when it is sent"},        {"from", "", "number", "sender"},           {"method", "POST", "GET, POST", "how the URL is asked"},
    {"statusCallback", "", "URL", "is told what happens"}, {"to", "the caller", "number", "receiver"},
};

static const struct verb_attr start_attrs[] = {
    {"action", "", "URL", "is told"},
    {"method", "POST", "GET, POST", "how the URL is asked"},
};

#define WITH(a) a, N_ELEMENTS(a)

const struct verb_info verb_table[] = {
    {"Connect", "joins the call to a stream or a relay", WITH(connect_attrs), .served = false, .takes_time = true, .answers = true},
    {"Dial", "calls somebody and joins the two", WITH(dial_attrs), .served = false, .takes_time = true, .answers = true},
    {"Echo", "sends back what the caller says, until the caller hangs up", NULL, 0, .served = true, .takes_time = true, .answers = true},
    {"Enqueue", "puts the caller into a queue", WITH(enqueue_attrs), .served = false, .takes_time = true, .answers = true},
    {"Gather", "collects digits or speech", WITH(gather_attrs), .served = true, .takes_time = true, .answers = true},
    {"Hangup", "ends the call", NULL, 0, .served = true, .takes_time = false, .answers = true},
    {"Leave", "leaves the queue", NULL, 0, .served = false, .takes_time = false, .answers = false},
    {"Pause", "waits; as the first verb it lets the call ring", WITH(pause_attrs), .served = true, .takes_time = true, .answers = false},
    {"Pay", "collects a card", WITH(pay_attrs), .served = false, .takes_time = true, .answers = true},
    {"Play", "plays a sound, or sends digits", WITH(play_attrs), .served = true, .takes_time = true, .answers = true},
    {"Prompt", "says what to enter in a Pay", WITH(prompt_attrs), .served = false, .takes_time = true, .answers = true},
    {"Queue", "joins the call to the first of a queue", WITH(queue_attrs), .served = false, .takes_time = true, .answers = true},
    {"Record", "records the caller", WITH(record_attrs), .served = false, .takes_time = true, .answers = true},
    {"Redirect", "goes on with another document", WITH(redirect_attrs), .served = true, .takes_time = false, .answers = false},
    {"Refer", "transfers the caller by SIP REFER", WITH(refer_attrs), .served = false, .takes_time = true, .answers = true},
    {"Reject", "refuses the call", WITH(reject_attrs), .served = true, .takes_time = false, .answers = false},
    {"Say", "speaks a text", WITH(say_attrs), .served = true, .takes_time = true, .answers = true},
    {"Sms", "sends a message", WITH(sms_attrs), .served = false, .takes_time = false, .answers = false},
    {"Start", "begins something beside the call", WITH(start_attrs), .served = false, .takes_time = false, .answers = false},
    {"Stop", "ends what Start began", NULL, 0, .served = false, .takes_time = false, .answers = false},
};
const size_t verb_n = N_ELEMENTS(verb_table);

static const struct verb_impl *const impls[] = {&verb_say, &verb_play, &verb_pause, &verb_hangup, &verb_reject, &verb_echo, &verb_redirect, &verb_gather};

const struct verb_info *verb_find(struct str name)
{
	for (size_t i = 0; i < verb_n; i++)
		if (str_eq(name, str_z(verb_table[i].name)))
			return &verb_table[i];
	return NULL;
}

const struct verb_attr *verb_attr_find(const struct verb_info *v, struct str name)
{
	for (int i = 0; i < v->n_attrs; i++)
		if (str_eq(name, str_z(v->attrs[i].name)))
			return &v->attrs[i];
	return NULL;
}

const struct verb_impl *verb_impl_find(struct str name)
{
	for (size_t i = 0; i < N_ELEMENTS(impls); i++)
		if (str_eq(name, str_z(impls[i]->name)))
			return impls[i];
	return NULL;
}

bool ssml_known(struct str name)
{
	static const char *const names[] = {"break", "emphasis", "lang", "p", "phoneme", "prosody", "s", "say-as", "sub", "w"};

	for (size_t i = 0; i < N_ELEMENTS(names); i++)
		if (str_eq(name, str_z(names[i])))
			return true;
	return false;
}
