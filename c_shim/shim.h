/* SPDX-License-Identifier: Apache-2.0 */
/* httpd's macros and variadic functions as plain functions. No decisions are taken here. */
#ifndef MOD_WSGI_SHIM_H
#define MOD_WSGI_SHIM_H

#include "apr_buckets.h"
#include "httpd.h"

void mod_wsgi_shim_log_server(int module_index, int level, const char *file, int line,
                              const server_rec *s, const char *text);
void mod_wsgi_shim_log_startup(int module_index, int level, const char *text);
void mod_wsgi_shim_log_request(int module_index, int level, const char *file, int line,
                               const request_rec *r, const char *text);

void mod_wsgi_shim_brigade_append(apr_bucket_brigade *brigade, apr_bucket *bucket);
apr_bucket *mod_wsgi_shim_brigade_first(apr_bucket_brigade *brigade);
int mod_wsgi_shim_brigade_is_empty(const apr_bucket_brigade *brigade);
int mod_wsgi_shim_bucket_is_eos(const apr_bucket *bucket);
int mod_wsgi_shim_bucket_is_metadata(const apr_bucket *bucket);
void mod_wsgi_shim_bucket_delete(apr_bucket *bucket);
apr_status_t mod_wsgi_shim_bucket_read(apr_bucket *bucket, const char **data, apr_size_t *length);

/* A part of a file; where it is neither mapped nor sent by the kernel, it is read in pieces. */
void mod_wsgi_shim_insert_file(apr_bucket_brigade *brigade, apr_file_t *file, apr_off_t offset,
                               apr_off_t length, int may_map, apr_size_t piece, apr_pool_t *pool);

/* Bit-fields in some releases of httpd, plain fields in others. */
int mod_wsgi_shim_expects_continue(const request_rec *r);
void mod_wsgi_shim_forget_continue(request_rec *r);
int mod_wsgi_shim_is_aborted(const conn_rec *c);

/* Hook child_stopping, which httpd has from 2.4.49 on; before that, nothing is called. */
void mod_wsgi_shim_hook_child_stopping(void (*stopping)(apr_pool_t *pool, int graceful));

int mod_wsgi_shim_is_timeup(apr_status_t status);

/* What is told of httpd's scoreboard, whose own structures differ between releases of httpd. */
struct mod_wsgi_shim_scoreboard {
    int server_limit;
    int thread_limit;
    int generation;
    apr_time_t restart_time;
};

struct mod_wsgi_shim_process {
    int pid;
    int generation;
    int quiescing;
};

/* Texts end with NUL. */
struct mod_wsgi_shim_worker {
    int thread;
    int generation;
    unsigned char status;
    apr_uint64_t access_count;
    apr_int64_t bytes_served;
    apr_time_t start_time;
    apr_time_t stop_time;
    apr_time_t last_used;
    char client[64];
    char request[64];
    char vhost[32];
};

/* 0 when there is no scoreboard; then nothing is written. */
int mod_wsgi_shim_scoreboard(struct mod_wsgi_shim_scoreboard *summary);
/* Within the limits of the scoreboard. */
void mod_wsgi_shim_scoreboard_process(int process, struct mod_wsgi_shim_process *copy);
void mod_wsgi_shim_scoreboard_worker(int process, int thread, struct mod_wsgi_shim_worker *copy);

#endif
