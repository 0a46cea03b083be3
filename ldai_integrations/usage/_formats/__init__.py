"""One function for each format of responses, and those for errors and usage objects in responses of any format.

A function recognizes its format by its shape. It returns False for what it does not know, and writes nothing to the
draft before.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from .._counts import read_counts
from .._draft import Draft
from .._fields import dig, get, is_list, is_record, text
from . import frameworks, hosts, openai, vendors

# Reads an event or a whole response; returns whether it has the format.
Format = Callable[[Any, Draft], bool]

# Events of AWS streams that are errors, named by the exception.
_AWS_ERRORS = (
    "internalServerException",
    "modelStreamErrorException",
    "modelTimeoutException",
    "serviceUnavailableException",
    "throttlingException",
    "validationException",
)
# Where responses of all kinds have their usage.
_USAGE = (
    "usage",
    "usage_metadata",
    "usageMetadata",
    "token_usage",
    "models_usage",
    "meta.usage",
    "meta",
    "metrics",
    "metadata.usage",
    "metadata.tokenMetadata",
    "additional_kwargs",
)


def read_error(event: object, draft: Draft) -> bool:
    """Read an error event, which may have the usage of what was generated before (OpenRouter).

    An event of another type may be about a step of an agent, such as a tool that failed.
    """
    error, kind = get(event, "error"), text(get(event, "type"))
    if kind == "error":
        draft.fail(error if error is not None and not text(error) else {"code": get(event, "code")})
    elif not kind and is_record(error) and get(error, "message", "code", "type") is not None:
        draft.fail(error)
    elif type(event) is dict and text(error) and event.keys() <= {"error", "error_type"}:  # Ollama, Hugging Face
        draft.fail({"type": get(event, "error_type")})
    else:
        name = next((name for name in _AWS_ERRORS if is_record(event) and get(event, name) is not None), None)
        if name is None:
            return False
        draft.fail({"type": name})
    draft.count(get(event, "usage"))
    return True


def read_usage(event: object, draft: Draft) -> bool:
    """Read the usage, and at most a plain text, of an unknown response."""
    usage = next((found for found in (dig(event, path) for path in _USAGE) if read_counts(found)), None)
    if usage is None:
        return False
    draft.begin(dig(event, "raw.id"), whole=True)  # LlamaIndex keeps the provider's response
    draft.count_unless_zero(usage)
    draft.count_further("svg", get(event, "svg_usage"))  # an image of OpenAI, of which another model drew a part
    draft.name_model(get(event, "model", "model_name", "model_id"))
    if not draft.call.has_content:
        draft.add_text(get(event, "text", "response", "content"))
    return True


def read_usage_object(event: object, draft: Draft) -> bool:
    """Read a usage object by itself, or one for each model as LangChain's callback has them."""
    counts = read_counts(event)
    if counts:
        if counts.values.keys() == {"input_tokens"}:
            return False  # the answer of a service that counts the tokens of a prompt
        draft.begin(whole=True)
        draft.count_unless_zero(event)
        return True
    if type(event) is not dict or not event:
        return False
    for usage in event.values():
        has_more = type(usage) is not dict or any(text(value) or is_list(value) for value in usage.values())
        if has_more or not read_counts(usage):
            return False  # a response, which has its counts among other things
    for model, usage in event.items():
        draft.begin(place=model, whole=True)
        draft.count(usage)
        draft.name_model(model)
    return True


# In order of how reliably a format is recognized: the weaker its sign, the later. The first that recognizes an event
# reads it.
FORMATS: tuple[Format, ...] = (
    openai.read_chat,
    openai.read_response,
    vendors.read_anthropic,
    vendors.read_gemini,
    hosts.read_converse,
    vendors.read_cohere,
    hosts.read_ollama,
    hosts.read_llama_cpp,
    hosts.read_invoke_headers,
    hosts.read_titan,
    hosts.read_llama,
    hosts.read_invoked_mistral,
    hosts.read_ai21,
    hosts.read_hugging_face,
    hosts.read_watsonx,
    frameworks.read_langchain,
    frameworks.read_agents,
    frameworks.read_pydantic_ai,
    frameworks.read_strands,
    frameworks.read_crewai,
    frameworks.read_launchdarkly,
    vendors.read_gemini_interaction,
    vendors.read_mistral_conversation,
    vendors.read_vertex_embeddings,
    read_error,
    read_usage,
    read_usage_object,
)
# For values inside an unknown object, where an "error" or a "total_tokens" may have another meaning.
NESTED = tuple(one for one in FORMATS if one not in (read_error, read_usage_object))
# What providers and gateways answer. The results and states of frameworks may contain answers of earlier requests.
OF_PROVIDERS = tuple(one for one in NESTED if one.__module__ != frameworks.__name__)
