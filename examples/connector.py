#!/usr/bin/env python3
"""A whole connector for relay in plain JSON: python connector.py http://127.0.0.1:8080 cc-28-aa-01-02-03 DATA_DIR [sse]

Over WebSocket it needs `pip install websockets`; over Server-Sent Events the standard library is enough. It reads files whole
and does not resume: it shows the protocol, while `relay connector` is what to install.
"""
import base64, json, os, sys, threading, urllib.request

router, mac, root = sys.argv[1].rstrip('/'), sys.argv[2], os.path.realpath(sys.argv[3])


def post(path, **body):
    request = urllib.request.Request(f'{router}{path}', json.dumps(body).encode(), {'Content-Type': 'application/json'})
    return urllib.request.urlopen(request).read()


def handle(command):
    request_id = command.get('request_id')
    try:
        path = os.path.realpath(os.path.join(root, command.get('dataset_name', '')))
        if not path.startswith(root + os.sep) or not os.path.isfile(path):
            return post('/datasets/result', request_id=request_id, error={'code': 'dataset_not_found', 'message': 'no such dataset'})
        with open(path, 'rb') as file:
            if command['command'] == 'get_dataset':
                post('/datasets/result', request_id=request_id, data=base64.b64encode(file.read()).decode(), encoding='base64')
            elif command['command'] == 'get_dataset_stream':
                post('/datasets/stream/init', request_id=request_id, total_size=os.path.getsize(path))
                while chunk := file.read(3 << 20):
                    post('/datasets/stream/chunk', request_id=request_id, data=base64.b64encode(chunk).decode(), encoding='base64')
                post('/datasets/stream/complete', request_id=request_id, total_size=file.tell())
            elif command['command'] == 'get_dataset_offload':
                upload, size = command['upload'], os.path.getsize(path)
                headers = {**upload['headers'], 'Content-Length': str(size), 'Content-Type': 'application/octet-stream'}
                urllib.request.urlopen(urllib.request.Request(upload['url'], file, headers, method='PUT')).read()
                post('/datasets/result', request_id=request_id, download_url=upload['download_url'], size=size)
            else:
                post('/datasets/result', request_id=request_id, error={'code': 'not_supported', 'message': command['command']})
    except Exception as error:
        print(f'{request_id}: {error}', file=sys.stderr)


def commands():
    if sys.argv[4:] == ['sse']:
        for line in urllib.request.urlopen(f'{router}/connectors/{mac}/events'):
            if line.startswith(b'data: {"command"'):
                yield line[6:]
    else:
        from websockets.sync.client import connect
        yield from connect(f'ws{router[4:]}/connectors/{mac}/socket', subprotocols=['relay.v1'], compression=None)


for message in commands():
    threading.Thread(target=handle, args=[json.loads(message)]).start()
