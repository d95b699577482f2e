/* SPDX-License-Identifier: Apache-2.0 */
#include "shim.h"

#include "apr_errno.h"
#include "apr_strings.h"
#include "http_log.h"
#include "mpm_common.h"
#include "scoreboard.h"

void mod_wsgi_shim_log_server(int module_index, int level, const char *file, int line,
                              const server_rec *s, const char *text)
{
    ap_log_error_(file, line, module_index, level, 0, s, "%s", text);
}

void mod_wsgi_shim_log_startup(int module_index, int level, const char *text)
{
    ap_log_error_(NULL, 0, module_index, level | APLOG_STARTUP, 0, NULL, "%s", text);
}

void mod_wsgi_shim_log_request(int module_index, int level, const char *file, int line,
                               const request_rec *r, const char *text)
{
    ap_log_rerror_(file, line, module_index, level, 0, r, "%s", text);
}

void mod_wsgi_shim_brigade_append(apr_bucket_brigade *brigade, apr_bucket *bucket)
{
    APR_BRIGADE_INSERT_TAIL(brigade, bucket);
}

apr_bucket *mod_wsgi_shim_brigade_first(apr_bucket_brigade *brigade)
{
    return APR_BRIGADE_FIRST(brigade);
}

int mod_wsgi_shim_brigade_is_empty(const apr_bucket_brigade *brigade)
{
    return APR_BRIGADE_EMPTY(brigade);
}

int mod_wsgi_shim_bucket_is_eos(const apr_bucket *bucket)
{
    return APR_BUCKET_IS_EOS(bucket);
}

int mod_wsgi_shim_bucket_is_metadata(const apr_bucket *bucket)
{
    return APR_BUCKET_IS_METADATA(bucket);
}

void mod_wsgi_shim_bucket_delete(apr_bucket *bucket)
{
    apr_bucket_delete(bucket);
}

apr_status_t mod_wsgi_shim_bucket_read(apr_bucket *bucket, const char **data, apr_size_t *length)
{
    return apr_bucket_read(bucket, data, length, APR_BLOCK_READ);
}

int mod_wsgi_shim_is_timeup(apr_status_t status)
{
    return APR_STATUS_IS_TIMEUP(status);
}

int mod_wsgi_shim_expects_continue(const request_rec *r)
{
    return r->expecting_100 != 0;
}

void mod_wsgi_shim_forget_continue(request_rec *r)
{
    r->expecting_100 = 0;
}

int mod_wsgi_shim_is_aborted(const conn_rec *c)
{
    return c->aborted != 0;
}

void mod_wsgi_shim_insert_file(apr_bucket_brigade *brigade, apr_file_t *file, apr_off_t offset,
                               apr_off_t length, int may_map, apr_size_t piece, apr_pool_t *pool)
{
    apr_bucket *bucket = apr_brigade_insert_file(brigade, file, offset, length, pool);

    for (; bucket != APR_BRIGADE_SENTINEL(brigade); bucket = APR_BUCKET_NEXT(bucket)) {
        if (APR_BUCKET_IS_FILE(bucket)) {
            apr_bucket_file_enable_mmap(bucket, may_map);
            apr_bucket_file_set_buf_size(bucket, piece);
        }
    }
}

void mod_wsgi_shim_hook_child_stopping(void (*stopping)(apr_pool_t *pool, int graceful))
{
#if AP_MODULE_MAGIC_AT_LEAST(20120211, 110)
    ap_hook_child_stopping(stopping, NULL, NULL, APR_HOOK_FIRST);
#endif
}

int mod_wsgi_shim_scoreboard(struct mod_wsgi_shim_scoreboard *summary)
{
    const global_score *global;

    if (!ap_exists_scoreboard_image()) {
        return 0;
    }
    global = ap_get_scoreboard_global();
    summary->server_limit = global->server_limit;
    summary->thread_limit = global->thread_limit;
    summary->generation = global->running_generation;
    summary->restart_time = global->restart_time;
    return 1;
}

void mod_wsgi_shim_scoreboard_process(int process, struct mod_wsgi_shim_process *copy)
{
    const process_score *score = ap_get_scoreboard_process(process);

    copy->pid = score->pid;
    copy->generation = score->generation;
    copy->quiescing = score->quiescing != 0;
}

void mod_wsgi_shim_scoreboard_worker(int process, int thread, struct mod_wsgi_shim_worker *copy)
{
    worker_score score;

#if AP_MODULE_MAGIC_AT_LEAST(20120211, 36)
    ap_copy_scoreboard_worker(&score, process, thread);
#else
    score = *ap_get_scoreboard_worker_from_indexes(process, thread);
#endif
    copy->thread = score.thread_num;
    copy->generation = score.generation;
    copy->status = score.status;
    copy->access_count = score.access_count;
    copy->bytes_served = score.bytes_served;
    copy->start_time = score.start_time;
    copy->stop_time = score.stop_time;
    copy->last_used = score.last_used;
#if AP_MODULE_MAGIC_AT_LEAST(20120211, 83)
    score.client64[sizeof(score.client64) - 1] = 0;
    apr_cpystrn(copy->client, score.client64, sizeof(copy->client));
#else
    score.client[sizeof(score.client) - 1] = 0;
    apr_cpystrn(copy->client, score.client, sizeof(copy->client));
#endif
    score.request[sizeof(score.request) - 1] = 0;
    apr_cpystrn(copy->request, score.request, sizeof(copy->request));
    score.vhost[sizeof(score.vhost) - 1] = 0;
    apr_cpystrn(copy->vhost, score.vhost, sizeof(copy->vhost));
}
