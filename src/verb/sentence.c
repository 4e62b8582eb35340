/* SPDX-License-Identifier: Apache-2.0
 *
 * sentence: every sentence that a caller can hear and that no service wrote, by language. The first row is what others fall back to. Pure, any thread.
 */
#include "verb/inside.h"

static const struct {
	const char *language; /* primary subtag */
	const char *text[SENTENCE_N];
} sentences[] = {
    {"en", {[SENTENCE_ERROR] = "Sorry, this service has a problem. Please call again later. Goodbye."}},
    {"de", {[SENTENCE_ERROR] = "Leider hat dieser Dienst ein Problem. Bitte rufen Sie später wieder an. Auf Wiederhören."}},
    {"es", {[SENTENCE_ERROR] = "Lo sentimos, este servicio tiene un problema. Llame más tarde, por favor. Adiós."}},
    {"fr", {[SENTENCE_ERROR] = "Désolé, ce service a un problème. Veuillez rappeler plus tard. Au revoir."}},
    {"it", {[SENTENCE_ERROR] = "Spiacenti, questo servizio ha un problema. Richiami più tardi. Arrivederci."}},
    {"lv", {[SENTENCE_ERROR] = "Atvainojiet, šim pakalpojumam ir kļūme. Lūdzu, zvaniet vēlāk. Uz redzēšanos."}},
    {"nl", {[SENTENCE_ERROR] = "Sorry, deze dienst heeft een probleem. Belt u later nog eens. Tot ziens."}},
    {"pt", {[SENTENCE_ERROR] = "Desculpe, este serviço tem um problema. Ligue mais tarde, por favor. Adeus."}},
    {"ru", {[SENTENCE_ERROR] = "Извините, в работе службы произошла ошибка. Пожалуйста, позвоните позже. До свидания."}},
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
