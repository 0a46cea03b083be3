"""The formats of hosts that serve models of many vendors: Bedrock, Ollama, llama.cpp, Hugging Face and watsonx."""

from __future__ import annotations

from .._draft import Draft
from .._fields import dig, get, is_a, is_list, is_record, items, number, text, to_json

# Bedrock's Converse API


def read_converse(event: object, draft: Draft) -> bool:
    """Read a Converse response or an event of its stream, also of Amazon Nova. boto3 returns dicts."""
    if not is_record(event):
        return False
    delta, start = get(event, "contentBlockDelta"), get(event, "contentBlockStart")
    content, usage = dig(event, "output.message.content"), dig(event, "metadata.usage")
    stop = dig(event, "stopReason", "messageStop.stopReason")
    if delta is not None:
        piece = get(delta, "delta")
        if not (draft.add_text(get(piece, "text")) or draft.add_reasoning(dig(piece, "reasoningContent.text"))):
            draft.call_tool(number(get(delta, "contentBlockIndex")) or 0, None, dig(piece, "toolUse.input"))
    elif start is not None:
        draft.call_tool(number(get(start, "contentBlockIndex")) or 0, dig(start, "start.toolUse.name"))
    elif is_list(content):
        draft.begin(whole=True)
        draft.count(get(event, "usage"))
        draft.name_tier(_tier_of(event))
        draft.finish(stop)
        for block in items(content):
            draft.add_text(get(block, "text"))
            draft.add_reasoning(dig(block, "reasoningContent.reasoningText.text"))
            call = get(block, "toolUse")
            if call is not None:
                draft.call_tool(None, get(call, "name"), to_json(get(call, "input")))
    elif stop is not None or usage is not None:
        draft.count(usage)
        draft.name_tier(_tier_of(get(event, "metadata")))
        draft.finish(stop)
    elif get(event, "messageStart") is not None:
        draft.begin(anew=True)
    else:
        return get(event, "messageStop", "contentBlockStop") is not None
    return True


def _tier_of(answer: object) -> object:
    """Return the service tier; a lower latency has prices of its own, too."""
    latency = dig(answer, "performanceConfig.latency")
    return latency if latency == "optimized" else dig(answer, "serviceTier.type")


# Bedrock's InvokeModel, whose bodies have the format of the model


def read_invoke_headers(event: object, draft: Draft) -> bool:
    """Read the headers of what boto3 returns: its body is a stream that only the caller may read."""
    known = draft.count(dig(event, "ResponseMetadata.HTTPHeaders"))
    draft.has_whole |= known
    return known


def read_titan(event: object, draft: Draft) -> bool:
    """Read a text of Titan, whose output is counted for each result or in the last chunk, or an embedding."""
    prompt = number(get(event, "inputTextTokenCount"))
    results = list(items(get(event, "results")))
    words = text(get(event, "outputText"))
    if prompt is None and not words and not any(text(get(result, "outputText")) for result in results):
        return False
    is_embedding = get(event, "embedding", "embeddingsByType") is not None
    draft.begin(whole=is_embedding or bool(results))
    if is_embedding:
        draft.count({"prompt_tokens": prompt, "total_tokens": prompt})
        return True
    output = number(get(event, "totalOutputTextTokenCount"))
    if output is None and results:
        output = sum(number(get(result, "tokenCount")) or 0 for result in results)
    draft.count({"inputTextTokenCount": prompt, "totalOutputTextTokenCount": output})
    for position, result in enumerate((event, *results)):
        draft.finish(get(result, "completionReason"), max(0, position - 1))
        draft.add_text(get(result, "outputText"))
    return True


def read_llama(event: object, draft: Draft) -> bool:
    """Read a body of Llama or Claude 2 or a chunk of one."""
    counted = number(get(event, "generation_token_count", "prompt_token_count")) is not None
    words = text(get(event, "generation", "completion"))
    if not is_record(event) or not (counted or (words and "stop_reason" in event)):
        return False
    draft.count(event)
    draft.finish(get(event, "stop_reason"))
    draft.has_part |= "stop_reason" in event and get(event, "stop_reason") is None
    draft.add_text(words)
    return True


def read_invoked_mistral(event: object, draft: Draft) -> bool:
    """Read a body of Mistral or a chunk of one."""
    outputs = [output for output in items(get(event, "outputs")) if is_record(output) and "stop_reason" in output]
    for position, output in enumerate(outputs):
        draft.finish(output["stop_reason"], position)
        draft.add_text(get(output, "text"))
    return bool(outputs)


def read_ai21(event: object, draft: Draft) -> bool:
    """Read a body of AI21's Jurassic, which lists its tokens instead of counting them."""
    completions = [one for one in items(get(event, "completions")) if text(dig(one, "data.text"))]
    prompt = dig(event, "prompt.tokens")
    if not completions or not is_list(prompt):
        return False
    output = sum(len(list(items(dig(one, "data.tokens")))) for one in completions)
    draft.count({"prompt_token_count": len(prompt), "generation_token_count": output})
    for position, one in enumerate(completions):
        draft.finish(dig(one, "finishReason.reason"), position)
        draft.add_text(dig(one, "data.text"))
    return True


# Servers of open models


def read_ollama(event: object, draft: Draft) -> bool:
    """Read an Ollama response or a line of one."""
    done, model = get(event, "done"), get(event, "model")
    counted = number(get(event, "eval_count", "prompt_eval_count")) is not None
    if not counted and (not is_a(done, bool) or not text(model)):
        return False
    draft.begin_next()  # "done" is the end of an answer
    draft.name_model(model)
    if counted or done is True:
        draft.count(event)
    draft.finish(text(get(event, "done_reason")) or ("done" if done is True else None))  # older servers
    draft.call.no_usage_follows = True
    message = get(event, "message")
    for source in (event,) if message is None else (message, event):
        draft.add_text(get(source, "content", "response"))
        draft.add_reasoning(get(source, "thinking"))
    for call in items(get(message, "tool_calls")):
        draft.call_tool(None, dig(call, "function.name"), to_json(dig(call, "function.arguments")))
    return True


def read_llama_cpp(event: object, draft: Draft) -> bool:
    """Read a completion of llama.cpp's own server or a chunk of one."""
    if number(get(event, "tokens_predicted")) is None or not is_a(get(event, "content"), str):
        return False
    draft.begin_next()
    draft.name_model(get(event, "model"))
    draft.count(event)
    draft.finish(text(get(event, "stop_type")) or ("stop" if get(event, "stop") is True else None))  # older servers
    draft.has_part |= get(event, "stop") is False
    draft.add_text(get(event, "content"))
    return True


def read_hugging_face(event: object, draft: Draft) -> bool:
    """Read a text-generation response of Hugging Face or an event of its stream."""
    token, whole = get(event, "token"), get(event, "generated_text")
    word = text(get(token, "text"))
    if not word and not text(whole):
        return False
    draft.begin_next()
    details = get(event, "details")
    draft.count(details)
    prefill = get(details, "prefill")
    if is_list(prefill) and len(prefill):
        draft.count({"input_length": len(prefill)})
    draft.finish(get(details, "finish_reason"))
    if not word:
        draft.has_whole = True
        draft.add_text(whole)
    elif get(token, "special") is not True:
        draft.add_text(word)
    return True


def read_watsonx(event: object, draft: Draft) -> bool:
    """Read a text-generation response of watsonx or a chunk of one."""
    results = [one for one in items(get(event, "results")) if number(get(one, "generated_token_count")) is not None]
    if results:
        draft.begin_next()
        draft.name_model(get(event, "model_id"))
    for position, result in enumerate(results):
        draft.count(result)
        reason = text(get(result, "stop_reason"))
        draft.finish(reason if reason != "not_finished" else None, position)
        draft.has_part |= reason == "not_finished"
        draft.add_text(get(result, "generated_text"))
    return bool(results)
