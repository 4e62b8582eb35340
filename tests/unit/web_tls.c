/* SPDX-License-Identifier: Apache-2.0
 *
 * web_tls: https. An authority made for the test signs a server's certificates: a good one is taken, and each way of being none has its own code: another host's, expired, from an
 * authority that is not known, no TLS at all.
 */
#include "web_client.h"

#include <signal.h>

#include <openssl/pem.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>

#define DAY 86400L

enum kind { GOOD, OTHER_HOST, EXPIRED, UNKNOWN_CA, PLAIN };

struct authority {
	EVP_PKEY *key;
	X509 *cert;
};

struct tls {
	enum kind kind;
	struct authority ca, stranger;
	char bundle[64];
	char served[256]; /* the SNI that was asked for */
};
static struct tls tls;

bool serve_path(struct server *s, int fd, const char *path, const char *request)
{
	return answer(fd, "200 OK", "", "plain");
}

static X509 *make_cert(EVP_PKEY *key, const char *cn, const char *san, const struct authority *by, long from, long until)
{
	static long serial = 1;
	X509 *c = X509_new();
	X509V3_CTX x;
	X509_set_version(c, 2);
	ASN1_INTEGER_set(X509_get_serialNumber(c), serial++);
	X509_gmtime_adj(X509_getm_notBefore(c), from);
	X509_gmtime_adj(X509_getm_notAfter(c), until);
	X509_set_pubkey(c, key);
	X509_NAME_add_entry_by_txt(X509_get_subject_name(c), "CN", MBSTRING_ASC, (const unsigned char *)cn, -1, -1, 0);
	X509_set_issuer_name(c, X509_get_subject_name(by && by->cert ? by->cert : c));
	X509V3_set_ctx(&x, by && by->cert ? by->cert : c, c, NULL, NULL, 0);
	X509_EXTENSION *e = X509V3_EXT_conf_nid(NULL, &x, san ? NID_subject_alt_name : NID_basic_constraints, san ? san : "critical,CA:TRUE");
	assert_non_null(e);
	X509_add_ext(c, e, -1);
	X509_EXTENSION_free(e);
	assert_true(X509_sign(c, by ? by->key : key, EVP_sha256()) > 0);
	return c;
}

static void make_authority(struct authority *a, const char *cn)
{
	a->key = EVP_EC_gen("P-256");
	a->cert = make_cert(a->key, cn, NULL, NULL, -DAY, 30 * DAY);
}

/* One connection: handshake, one request, one answer. */
static void serve_tls(int fd)
{
	SSL_CTX *x = SSL_CTX_new(TLS_server_method());
	EVP_PKEY *key = EVP_EC_gen("P-256");
	const struct authority *by = tls.kind == UNKNOWN_CA ? &tls.stranger : &tls.ca;
	X509 *cert = make_cert(key, "server", tls.kind == OTHER_HOST ? "DNS:other.test" : "DNS:two.test", by, -2 * DAY, tls.kind == EXPIRED ? -DAY : DAY);
	char buf[4096];
	int n;
	SSL_CTX_use_certificate(x, cert);
	SSL_CTX_use_PrivateKey(x, key);
	SSL *s = SSL_new(x);
	SSL_set_fd(s, fd);
	if (SSL_accept(s) == 1) {
		const char *sni = SSL_get_servername(s, TLSEXT_NAMETYPE_host_name);
		snprintf(tls.served, sizeof(tls.served), "%s", sni ? sni : "");
		n = SSL_read(s, buf, sizeof(buf));
		static const char text[] = "HTTP/1.1 200 OK\r\nContent-Length: 6\r\nConnection: close\r\n\r\nsecure";
		if (n > 0)
			SSL_write(s, text, sizeof(text) - 1);
		SSL_shutdown(s);
	}
	SSL_free(s);
	SSL_CTX_free(x);
	X509_free(cert);
	EVP_PKEY_free(key);
}

static void *tls_thread(void *arg)
{
	int fd = accept(*(int *)arg, NULL, NULL);
	if (fd >= 0 && tls.kind == PLAIN)
		sendf(fd, "HTTP/1.1 400 Speak plainly\r\n\r\n");
	else if (fd >= 0)
		serve_tls(fd);
	close(fd);
	return NULL;
}

static int set_up(void **state)
{
	struct rig *g = calloc(1, sizeof(*g));
	struct client_opts o = {.ca_bundle = tls.bundle};
	signal(SIGPIPE, SIG_IGN);
	make_authority(&tls.ca, "test authority");
	make_authority(&tls.stranger, "stranger");
	snprintf(tls.bundle, sizeof(tls.bundle), "/tmp/web_tls.XXXXXX");
	int fd = mkstemp(tls.bundle);
	FILE *f = fdopen(fd, "w");
	PEM_write_X509(f, tls.ca.cert);
	fclose(f);
	rig_open(g, &o);
	*state = g;
	return 0;
}

static int tear_down(void **state)
{
	rig_close(*state);
	unlink(tls.bundle);
	X509_free(tls.ca.cert);
	X509_free(tls.stranger.cert);
	EVP_PKEY_free(tls.ca.key);
	EVP_PKEY_free(tls.stranger.key);
	return 0;
}

static struct reply over_tls(struct rig *g, enum kind kind)
{
	uint16_t port;
	char url[64];
	pthread_t id;
	int fd = listen_on(INADDR_ANY, 4, &port);
	tls.kind = kind;
	assert_int_equal(pthread_create(&id, NULL, tls_thread, &fd), 0);
	snprintf(url, sizeof(url), "https://two.test:%u/", port);
	struct reply p = ask_for(g, (struct fetch){.url = str_z(url), .trusted = true});
	pthread_join(id, NULL);
	close(fd);
	return p;
}

static void test_good(void **state)
{
	struct reply p = over_tls(*state, GOOD);
	if (p.r.fault)
		print_error("%s\n", p.r.why);
	assert_int_equal(p.r.fault, 0);
	assert_string_equal(p.body, "secure");
	assert_string_equal(tls.served, "two.test"); /* the name, not the address that is connected to */
	reply_free(&p);
}

static void test_bad(void **state)
{
	static const struct {
		enum kind kind;
		uint32_t fault;
	} rows[] = {{OTHER_HOST, 11235}, {EXPIRED, 11236}, {UNKNOWN_CA, 11237}, {PLAIN, 11220}};
	for (size_t i = 0; i < N_ELEMENTS(rows); i++) {
		struct reply p = over_tls(*state, rows[i].kind);
		if (p.r.fault != rows[i].fault)
			print_error("%u: %s\n", p.r.fault, p.r.why);
		assert_int_equal(p.r.fault, rows[i].fault);
		assert_int_equal(p.r.attempts, 1);
		assert_int_equal(p.r.status, 0);
		reply_free(&p);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
#define T(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)
	    T(test_good),
	    T(test_bad),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
