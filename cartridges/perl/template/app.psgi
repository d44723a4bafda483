# A PSGI application to start from. CGI scripts need none of this: put index.pl into perl/.
use strict;
use warnings;

my $page = <<"HTML";
<!DOCTYPE html>
<html lang="en">
<meta charset="utf-8">
<title>It works</title>
<style>body { font: 1.1em/1.6 system-ui, sans-serif; max-width: 38em; margin: 4em auto; padding: 0 1em }</style>
<h1>It works</h1>
<p>This page comes from <code>app.psgi</code>, run by Perl $^V. Change it and push:</p>
<pre>git commit -am "My first change" &amp;&amp; git push</pre>
<p>Modules go into a <code>cpanfile</code>; another server is named in a <code>Procfile</code>.</p>
HTML

sub {
    my $env = shift;
    return [200, ['Content-Type' => 'text/plain'], ["ok\n"]] if $env->{PATH_INFO} eq '/health';
    return [200, ['Content-Type' => 'text/html; charset=utf-8'], [$page]];
};
