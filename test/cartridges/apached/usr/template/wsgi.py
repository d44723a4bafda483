import os, sys

with open(os.path.join(os.environ['OPENSHIFT_APACHED_DIR'], 'virtenv', 'bin', 'activate_this.py')) as f:
    exec(f.read(), {'__file__': f.name})


def application(environ, start_response):
    start_response('200 OK', [('Content-Type', 'text/plain')])
    return [('WSGI in ' + '/'.join(sys.prefix.split('/')[-2:])).encode()]
