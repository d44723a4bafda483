# A Rack application to start from: anything that answers call(env).
PAGE = <<~HTML
  <!DOCTYPE html>
  <html lang="en">
  <meta charset="utf-8">
  <title>It works</title>
  <style>body { font: 1.1em/1.6 system-ui, sans-serif; max-width: 38em; margin: 4em auto; padding: 0 1em }</style>
  <h1>It works</h1>
  <p>This page comes from <code>config.ru</code>, run by Ruby #{RUBY_VERSION}. Change it and push:</p>
  <pre>git commit -am "My first change" &amp;&amp; git push</pre>
  <p>Gems go into a <code>Gemfile</code>; another server is named in a <code>Procfile</code>.</p>
HTML

run lambda { |env|
  if env['PATH_INFO'] == '/health'
    [200, { 'Content-Type' => 'text/plain' }, ["ok\n"]]
  else
    [200, { 'Content-Type' => 'text/html; charset=utf-8' }, [PAGE]]
  end
}
