"""Stands in for openai-python where that is not installed, so that our Python examples always run.

Knows only what they use, takes arguments by name as the original does, and sends what openai-python 3 sends.
"""

import json
import os
import urllib.request
import uuid
from urllib.parse import urlencode


class OpenAI:
    def __init__(self, *, base_url=None, api_key=None):
        key = api_key or os.environ["OPENAI_API_KEY"]
        self._base = (base_url or os.environ["OPENAI_BASE_URL"]).rstrip("/")
        self._query = {}
        self._headers = {"authorization": f"Bearer {key}"}
        self.files = Files(self)
        self.batches = Batches(self)

    def _call(self, method, path, *, body=None, content_type=None, query=None):
        parameters = {**self._query, **{k: v for k, v in (query or {}).items() if v is not None}}
        url = f"{self._base}{path}" + (f"?{urlencode(parameters)}" if parameters else "")
        headers = {"accept": "application/json", "user-agent": "OpenAI/Python", **self._headers}
        if content_type:
            headers["content-type"] = content_type
        with urllib.request.urlopen(urllib.request.Request(url, body, headers, method=method)) as answer:
            return answer.read()

    def _json(self, method, path, *, body=None, query=None):
        data = None if body is None else json.dumps(body).encode()
        kind = None if body is None else "application/json"
        return Model(json.loads(self._call(method, path, body=data, content_type=kind, query=query)))


class AzureOpenAI(OpenAI):
    def __init__(self, *, azure_endpoint=None, api_key=None, api_version=None):
        endpoint = azure_endpoint or os.environ["AZURE_OPENAI_ENDPOINT"]
        super().__init__(base_url=f"{endpoint.rstrip('/')}/openai", api_key="unused")
        self._query = {"api-version": api_version or os.environ["OPENAI_API_VERSION"]}
        self._headers = {"api-key": api_key or os.environ["AZURE_OPENAI_API_KEY"]}


class Files:
    def __init__(self, client):
        self._client = client

    def create(self, *, file, purpose):
        boundary = uuid.uuid4().hex
        name = os.path.basename(file.name)
        body = (
            f'--{boundary}\r\nContent-Disposition: form-data; name="purpose"\r\n\r\n{purpose}\r\n'
            f'--{boundary}\r\nContent-Disposition: form-data; name="file"; filename="{name}"\r\n'
            "Content-Type: application/octet-stream\r\n\r\n"
        ).encode() + file.read() + f"\r\n--{boundary}--\r\n".encode()
        kind = f"multipart/form-data; boundary={boundary}"
        return Model(json.loads(self._client._call("POST", "/files", body=body, content_type=kind)))

    def content(self, file_id):
        return Content(self._client._call("GET", f"/files/{file_id}/content"))


class Batches:
    def __init__(self, client):
        self._client = client

    def create(self, *, input_file_id, endpoint, completion_window, metadata=None):
        body = {"completion_window": completion_window, "endpoint": endpoint, "input_file_id": input_file_id}
        if metadata is not None:
            body["metadata"] = metadata
        return self._client._json("POST", "/batches", body=body)

    def retrieve(self, batch_id):
        return self._client._json("GET", f"/batches/{batch_id}")

    def cancel(self, batch_id):
        return self._client._json("POST", f"/batches/{batch_id}/cancel")

    def list(self, *, after=None, limit=None, extra_query=None):
        """One page; the original goes on to the next by itself."""
        query = {"after": after, "limit": limit, **(extra_query or {})}
        return self._client._json("GET", "/batches", query=query).data


class Content:
    def __init__(self, data):
        self.content = data
        self.text = data.decode()

    def write_to_file(self, path):
        with open(path, "wb") as file:
            file.write(self.content)


class Model:
    def __init__(self, value):
        self._value = value

    def __getattr__(self, name):
        try:
            return wrap(self._value[name])
        except KeyError:
            raise AttributeError(name) from None

    def model_dump_json(self, *, indent=None):
        return json.dumps(self._value, indent=indent)


def wrap(value):
    if isinstance(value, dict):
        return Model(value)
    return [wrap(item) for item in value] if isinstance(value, list) else value
