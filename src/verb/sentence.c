/* SPDX-License-Identifier: Apache-2.0
 *
 * sentence: every sentence that a caller can hear and that no service wrote, by language. The first row is what others fall back to. Pure, any thread.
 */
#include "verb/inside.h"

static const struct {
	const char *language; /* primary subtag */
	const char *text[SENTENCE_N];
} sentences[] = {
    {"en", {[SENTENCE_ERROR] = "Sorry, this service has a problem. Please call again later. Goodbye.", [SENTENCE_WAIT] = "One moment, please."}},
    {"de",
     {[SENTENCE_ERROR] = "Leider hat dieser Dienst ein Problem. Bitte rufen Sie später wieder an. Auf Wiederhören.", [SENTENCE_WAIT] = "Einen Moment, bitte."}},
    {"es", {[SENTENCE_ERROR] = "Lo sentimos, este servicio tiene un problema. Llame más tarde, por favor. Adiós.", [SENTENCE_WAIT] = "Un momento, por favor."}},
    {"fr", {[SENTENCE_ERROR] = "Désolé, ce service a un problème. Veuillez rappeler plus tard. Au revoir.", [SENTENCE_WAIT] = "Un instant, s'il vous plaît."}},
    {"it", {[SENTENCE_ERROR] = "Spiacenti, questo servizio ha un problema. Richiami più tardi. Arrivederci.", [SENTENCE_WAIT] = "Un momento, per favore."}},
    {"lv", {[SENTENCE_ERROR] = "Atvainojiet, šim pakalpojumam ir kļūme. Lūdzu, zvaniet vēlāk. Uz redzēšanos.", [SENTENCE_WAIT] = "Lūdzu, mazliet pagaidiet."}},
    {"nl", {[SENTENCE_ERROR] = "Sorry, deze dienst heeft een probleem. Belt u later nog eens. Tot ziens.", [SENTENCE_WAIT] = "Een ogenblik, alstublieft."}},
    {"pt", {[SENTENCE_ERROR] = "Desculpe, este serviço tem um problema. Ligue mais tarde, por favor. Adeus.", [SENTENCE_WAIT] = "Um momento, por favor."}},
    {"ru",
     {[SENTENCE_ERROR] = "Извините, в работе службы произошла ошибка. Пожалуйста, позвоните позже. До свидания.",
      [SENTENCE_WAIT] = "Пожалуйста, подождите немного."}},
};

struct str sentence_of(enum sentence s, struct str language)
{
	struct str rest, primary = str_cut(language, '-', &rest);

	ASSERT(s >= 0 && s < SENTENCE_N);
	for (size_t i = 0; i < N_ELEMENTS(sentences); i++)
		if (str_ieq(primary, str_z(sentences[i].language)))
			return str_z(sentences[i].text[s]);
	return str_z(sentences[0].text[s]);
}
