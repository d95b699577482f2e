# SPDX-License-Identifier: Apache-2.0
"""A process that turns the lines of a text round, with files as input and output."""

from pathlib import Path

from pywps import FORMATS, ComplexInput, ComplexOutput, Process


class Reverse(Process):
    def __init__(self):
        super().__init__(
            self._reverse,
            identifier="reverse",
            title="Lines in reverse order",
            inputs=[ComplexInput("text", "Text", supported_formats=[FORMATS.TEXT])],
            outputs=[ComplexOutput("reversed", "Text", supported_formats=[FORMATS.TEXT])],
            store_supported=True,
        )

    def _reverse(self, request, response):
        lines = Path(request.inputs["text"][0].file).read_text().split("\n")
        result = Path(self.workdir) / "reversed.txt"
        result.write_text("\n".join(reversed(lines)))
        response.outputs["reversed"].file = str(result)
        return response
