/* SPDX-License-Identifier: Apache-2.0
 *
 * The floor: what httpd itself costs for a request whose answer is already there. Its body and
 * headers are those of apps/hello.wsgi, so that only the way to them differs. */

#include "httpd.h"
#include "http_config.h"
#include "http_protocol.h"

static const char body[] = "Hello, World!\n";

static int floor_handler(request_rec *r)
{
    if (!r->handler || strcmp(r->handler, "floor")) {
        return DECLINED;
    }
    ap_set_content_type(r, "text/plain");
    ap_set_content_length(r, sizeof(body) - 1);
    ap_rwrite(body, sizeof(body) - 1, r);
    return OK;
}

static void register_hooks(apr_pool_t *pool)
{
    ap_hook_handler(floor_handler, NULL, NULL, APR_HOOK_MIDDLE);
}

AP_DECLARE_MODULE(floor) = {STANDARD20_MODULE_STUFF, NULL, NULL, NULL, NULL, NULL, register_hooks};
