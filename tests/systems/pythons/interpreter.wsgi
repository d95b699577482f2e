# SPDX-License-Identifier: Apache-2.0
"""What the interpreter of a request is, and what other processes and extensions do with it.

The last part of the path says what is asked; the answer is JSON.
"""

import json
import multiprocessing
import os
import subprocess
import sys

import interpreter_facts


def facts():
    return interpreter_facts.collect()


def subprocess_of_executable():
    code = "import json, interpreter_facts; print(json.dumps(interpreter_facts.collect()))"
    environment = os.environ | {"PYTHONPATH": os.path.dirname(interpreter_facts.__file__)}
    output = subprocess.run(
        [sys.executable, "-c", code], env=environment, check=True, capture_output=True
    ).stdout
    return json.loads(output)


def process_of(method):
    context = multiprocessing.get_context(method)
    with context.Pool(2) as pool:
        collected = [pool.apply_async(interpreter_facts.collect) for _ in range(4)]
        answer = collected[0].get()
        answer["squares"] = pool.map(interpreter_facts.square, range(100))
        answer["parents"] = [result.get()["parent"] for result in collected]
    pool.join()
    return answer


def cryptography():
    from cryptography import x509
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    # The first of the test vectors in RFC 8032, section 7.1.
    key = "9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60"
    name = x509.Name.from_rfc4514_string("CN=example.org,O=Example")
    return {
        "signature": Ed25519PrivateKey.from_private_bytes(bytes.fromhex(key)).sign(b"").hex(),
        "name": [attribute.value for attribute in name],
    }


def bcrypt():
    import bcrypt

    return {
        "hash": bcrypt.hashpw(b"U*U", b"$2a$05$CCCCCCCCCCCCCCCCCCCCC.").decode(),
        "same": bcrypt.checkpw(b"secret", bcrypt.hashpw(b"secret", bcrypt.gensalt(4))),
    }


ANSWERS = {
    "facts": facts,
    "subprocess": subprocess_of_executable,
    "spawn": lambda: process_of("spawn"),
    "forkserver": lambda: process_of("forkserver"),
    "fork": lambda: process_of("fork"),
    "cryptography": cryptography,
    "bcrypt": bcrypt,
}


def application(environ, start_response):
    answer = ANSWERS[environ["PATH_INFO"].strip("/")]()
    answer["server process"] = os.getpid()
    answer["application group"] = environ["mod_wsgi.application_group"]
    body = json.dumps(answer).encode()
    start_response(
        "200 OK", [("Content-Type", "application/json"), ("Content-Length", str(len(body)))]
    )
    return [body]
