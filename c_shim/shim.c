/* SPDX-License-Identifier: Apache-2.0 */
#include "shim.h"

#include "apr_errno.h"
#include "http_log.h"
#include "mpm_common.h"

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
