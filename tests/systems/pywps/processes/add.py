# SPDX-License-Identifier: Apache-2.0
"""A process with two numbers as input and their sum as output."""

from pywps import LiteralInput, LiteralOutput, Process


class Add(Process):
    def __init__(self):
        super().__init__(
            self._add,
            identifier="add",
            title="Sum of two numbers",
            inputs=[
                LiteralInput("augend", "First number", data_type="float"),
                LiteralInput("addend", "Second number", data_type="float"),
            ],
            outputs=[LiteralOutput("sum", "Sum", data_type="float")],
        )

    @staticmethod
    def _add(request, response):
        augend, addend = (request.inputs[name][0].data for name in ("augend", "addend"))
        response.outputs["sum"].data = augend + addend
        return response
