# Serves a directory as OpenShift v2's Perl cartridge did: files as they are, *.pl and *.cgi as CGI
# scripts. The directory: the first that is there of perl/, cgi-bin/, public/, else the repository;
# PINION_DOCROOT names another.
use strict;
use warnings;
use Cwd qw(realpath);
use File::Basename qw(dirname);
use Plack::App::File;

my $repo = $ENV{OPENSHIFT_REPO_DIR} // '.';
my ($root) = grep { -d } map { "$repo/$_" } $ENV{PINION_DOCROOT} ? $ENV{PINION_DOCROOT} : qw(perl cgi-bin public .);
die "no folder $ENV{PINION_DOCROOT} in the repository\n" unless defined $root;
$root = realpath($root);
my @indexes = qw(index.pl index.cgi index.html index.htm);
die "nothing to start: no app.psgi, and no index in $root\n" unless grep { -f "$root/$_" } @indexes;
my $files = Plack::App::File->new(root => $root, encoding => 'utf-8')->to_app;

# The file of a path and the rest of the path behind it; nothing for what must not be served.
sub locate {
    my @parts = grep { length } split m{/}, shift;
    my ($path, $at) = ($root, 0);
    return if grep { /\A\./ && $_ ne '.well-known' || /\0/ } @parts;
    for (; $at < @parts && -d $path; $at++) { $path .= "/$parts[$at]" }
    if (-d $path) {
        my ($index) = grep { -f "$path/$_" } @indexes;
        $path .= "/$index" if defined $index;
    }
    my $real = realpath($path);
    return unless defined $real && index($real, "$root/") == 0 && -f $real;
    return ($real, join('', map { "/$_" } @parts[$at .. $#parts]));
}

# The variables of RFC 3875.
sub cgi_environment {
    my ($env, $file, $info) = @_;
    my %v = (%ENV, map { $_ => $env->{$_} } grep { /\A(?:HTTP_|REMOTE_|SERVER_|REQUEST_|CONTENT_|QUERY_)/ && defined $env->{$_} } keys %$env);
    delete $v{HTTP_PROXY};
    $v{GATEWAY_INTERFACE} = 'CGI/1.1';
    $v{DOCUMENT_ROOT} = $root;
    $v{SCRIPT_FILENAME} = $file;
    $v{SCRIPT_NAME} = substr $file, length $root;
    $v{PATH_INFO} = $info;
    $v{HTTPS} = 'on' if ($env->{'psgi.url_scheme'} // '') eq 'https';
    return \%v;
}

# Runs the script with the request's body on its input; a handle of its output.
sub run_script {
    my ($env, $file, $info) = @_;
    my $body = File::Temp->new(UNLINK => 1);
    while ((my $n = $env->{'psgi.input'}->read(my $chunk, 65536)) > 0) { print {$body} $chunk }
    $body->flush;
    seek $body, 0, 0;
    pipe(my $out, my $in) or die "pipe: $!";
    my $pid = fork // die "fork: $!";
    if ($pid == 0) {
        %ENV = %{ cgi_environment($env, $file, $info) };
        open STDIN, '<&', $body or POSIX::_exit(126);
        open STDOUT, '>&', $in or POSIX::_exit(126);
        chdir dirname($file);
        { no warnings 'exec'; exec { -x $file ? $file : $^X } -x $file ? $file : ($^X, $file) }
        print STDERR "cannot run $file: $!\n";
        POSIX::_exit(126);
    }
    close $in;
    return ($pid, $out);
}

sub answer_of {
    my ($pid, $out) = @_;
    local $/;
    my $text = <$out> // '';
    waitpid $pid, 0;
    my ($head, $body) = split /\r?\n\r?\n/, $text, 2;
    return [502, ['Content-Type' => 'text/plain'], ["the script ended without an answer\n"]] if !defined $body || $head !~ /\A[!-~]+:/;
    my ($status, @fields) = (200);
    for (split /\r?\n/, $head) {
        my ($name, $value) = /\A([!-9;-~]+):[ \t]*(.*)\z/ or next;
        if (lc $name eq 'status') { $status = $value =~ /\A(\d{3})/ ? $1 : 502; next }
        $status = 302 if lc $name eq 'location' && $status == 200;
        push @fields, $name, $value;
    }
    return [$status, \@fields, [$body]];
}

use File::Temp ();
use POSIX ();
sub {
    my $env = shift;
    my ($file, $info) = locate($env->{PATH_INFO});
    return [404, ['Content-Type' => 'text/plain'], ["not found\n"]] unless defined $file;
    local $SIG{CHLD} = 'DEFAULT';
    return answer_of(run_script($env, $file, $info)) if $file =~ /\.(?:pl|cgi)\z/;
    return [404, ['Content-Type' => 'text/plain'], ["not found\n"]] if length $info;
    local $env->{PATH_INFO} = substr $file, length $root;
    return $files->($env);
}
