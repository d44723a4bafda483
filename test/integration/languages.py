#!/usr/bin/python3
"""Perl, Ruby, Java, Go, C and PHP as people push them: built by a node, started, asked."""
import io, os, sys, zipfile
sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "lib"))
from build_world import *
from node_world import *


def world(w):
    w.start()
    return w


def seconds(b):
    return f"{b.result['us']['total'] / 1e6:.2f} s"


def templates(w):
    """Each cartridge's template works as it is, and a change of it shows."""
    world(w)
    times = []
    for cart, file in (("make", "hello.c"), ("go", "main.go"), ("ruby", "config.ru"), ("perl", "app.psgi"),
                       ("java", "src/main/java/Hello.java"), ("php", "index.php")):
        top = f"{SRC}/cartridges/{cart}/template"
        a = App(w, cart)
        b = a.build(top, is_template=True)
        assert b.ok, b
        a.run()
        a.serves("It works")
        tree = {os.path.relpath(os.path.join(d, n), top): open(os.path.join(d, n)).read() for d, _, names in os.walk(top) for n in names}
        tree[file] = tree[file].replace("It works", "It still works")
        second = a.deploy(tree, "It still works")
        times.append(f"{cart} {seconds(b)}, {seconds(second)}")
        w.remove(a.running)
        w.remove_gear(a.gear)
    return "; ".join(times)


def php_by_fpm(w):
    a = App(world(w), "php")
    a.deploy({"index.php": "<?php header('X-Sapi: '.PHP_SAPI); echo PHP_SAPI, ' ', $_GET['q'] ?? '-', ' ', $_SERVER['REQUEST_METHOD'];",
              "boom.php": "<?php shell_exec('kill -9 '.posix_getppid());"}, "fpm-fcgi 1 GET", "/?q=1")
    # The server starts php-fpm again should it die.
    try:
        a.get("/boom.php")
    except OSError:
        pass
    wait_for(lambda: a.get("/?q=2")[1] == "fpm-fcgi 2 GET", "php-fpm again")


def ruby_gems(w):
    a = App(world(w), "ruby")
    files = {"Gemfile": "gem 'rack'\ngem 'sinatra'\n",
             "config.ru": "require 'bundler/setup'\nrequire 'sinatra/base'\nclass A < Sinatra::Base\n get('/') { \"sinatra \" + Rack.release }\nend\nrun A\n"}
    b = a.deploy(files, "sinatra 2.2")
    b.says("All gems are those of the stack", "sinatra")
    assert a.deploy({**files, "x.txt": "1"}, "sinatra").result["deps_reused"]


def ruby_without_the_gem(w):
    a = App(world(w), "ruby")
    b = a.build({"Gemfile": "gem 'there-is-no-such-gem-anywhere'\n", "config.ru": "run 1\n"})
    assert not b.ok and b.result["step"] == "build", b
    b.says("there-is-no-such-gem-anywhere")


def perl_applications(w):
    a = App(world(w), "perl")
    a.deploy({"app.psgi": "use My; sub { [200, [], [My::word().\" $_[0]{QUERY_STRING}\"]] }", "lib/My.pm": "package My; sub word { 'psgi' } 1;"}, "psgi a=b", "/?a=b")
    cgi = "#!/usr/bin/perl\nprint \"Content-Type: text/plain\\r\\nX-A: b\\r\\n\\r\\n$ENV{REQUEST_METHOD} $ENV{SCRIPT_NAME} $ENV{PATH_INFO} $ENV{QUERY_STRING} $ENV{OPENSHIFT_APP_NAME}\";"
    a.deploy({"perl/index.pl": cgi, "perl/x.cgi": ("exec", cgi), "perl/a.css": "a{}", "perl/.secret": "no", "secret.txt": "no",
              "perl/bad.pl": "die 'in the script'"}, "GET /index.pl")
    a.serves("GET /x.cgi /more/path q=1", "/x.cgi/more/path?q=1")
    a.serves("a{}", "/a.css")
    for path, status in (("/.secret", 404), ("/../secret.txt", 404), ("/none", 404), ("/bad.pl", 502)):
        assert a.get(path)[0] == status, (path, a.get(path))


def perl_modules(w):
    """Modules that the stack has are satisfied; one in the repository's mirror is not asked of the world."""
    a = App(world(w), "perl")
    b = a.deploy({"deps.txt": "JSON::PP\nPlack # the server\n", "app.psgi": "use JSON::PP; sub { [200, [], [encode_json({a => 1})]] }"}, '{"a":1}')
    assert "cpanm" not in b.text, b


def war(w):
    """A war of today and one of the javax days, both without sources; a folder with WEB-INF and a servlet to compile."""
    a = App(world(w), "java", limits=dict(memory_mb=768, cpu_percent=200, cpu_shares=128, pids=250, disk_mb=512, files=100000))

    def make(web_xml, jsp):
        out = io.BytesIO()
        with zipfile.ZipFile(out, "w") as z:
            z.writestr("index.jsp", jsp)
            z.writestr("WEB-INF/web.xml", web_xml)
            z.writestr("a.txt", "a file of the war")
        return out.getvalue()
    new = make('<web-app xmlns="https://jakarta.ee/xml/ns/jakartaee" version="5.0"/>', "<%= 6 * 7 %> <%= request.getServletPath() %> <%= jakarta.servlet.DispatcherType.ERROR %>")
    b = a.deploy({"webapps/ROOT.war": new}, "42 /index.jsp ERROR")
    a.serves("a file of the war", "/a.txt")
    old = make('<web-app xmlns="http://java.sun.com/xml/ns/javaee" version="3.0"/>', "<%@ page import=\"javax.servlet.http.HttpServletRequest\" %><%= 40 + 2 %> old")
    a.deploy({"deployments/app.war": old}, "42 old")
    servlet = """package a; import jakarta.servlet.annotation.WebServlet; import jakarta.servlet.http.*;
@WebServlet("/hi") public class Hi extends HttpServlet {
 protected void doGet(HttpServletRequest q, HttpServletResponse r) throws java.io.IOException { r.getWriter().print("hi " + (Runtime.getRuntime().maxMemory() >> 20)); } }"""
    a.deploy({"src/main/java/a/Hi.java": servlet, "src/main/webapp/WEB-INF/web.xml": '<web-app xmlns="https://jakarta.ee/xml/ns/jakartaee" version="5.0"/>',
              "src/main/webapp/index.html": "front"}, "hi 3", "/hi")  # half of 768 MB, less a survivor space
    a.serves("front")
    return seconds(b)


def jar(w):
    import subprocess, tempfile
    a = App(world(w), "java")
    with tempfile.TemporaryDirectory() as d:
        shutil.copy(f"{SRC}/cartridges/java/template/src/main/java/Hello.java", d)
        subprocess.run(["javac", "-d", d, f"{d}/Hello.java"], check=True)
        subprocess.run(["jar", "cfe", f"{d}/app.jar", "Hello", "-C", d, "Hello.class"], check=True)
        # classes whose inner names are missing would not start
        subprocess.run(f"cd {d} && jar cfe app.jar Hello *.class", shell=True, check=True)
        a.deploy({"app.jar": open(f"{d}/app.jar", "rb").read()}, "It works")
    b = a.build({"src/A.java": "class A { public static void main(String[] a) {} }", "src/B.java": "class B { public static void main(String[] a) {} }"})
    b.says("OPENSHIFT_JAVA_MAIN")
    b = a.build({"src/A.java": "class A { int x = ; }"})
    assert not b.ok, b
    b.says("A.java:1")


def go_modules(w):
    a = App(world(w), "go")
    main = 'package main\nimport ("net/http"; "os"; "x/inner")\nfunc main() { http.ListenAndServe(":"+os.Getenv("PORT"), http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { w.Write([]byte(inner.Word)) })) }\n'
    files = {"go.mod": "module x\n\ngo 1.19\n", "cmd/web/main.go": main, "cmd/tool/main.go": "package main\nfunc main() {}\n",
             "inner/a.go": 'package inner\nconst Word = "two programs"\n'}
    b = a.deploy(files, "two programs")
    files["inner/a.go"] = 'package inner\nconst Word = "changed"\n'
    c = a.deploy(files, "changed")
    a.deploy({**files, "vendor/modules.txt": "# v/w v1.0.0\n## explicit\nv/w\n", "vendor/v/w/w.go": 'package w\nconst W = "vendored"\n',
              "go.mod": "module x\n\ngo 1.19\n\nrequire v/w v1.0.0\n",
              "inner/a.go": 'package inner\nimport "v/w"\nconst Word = w.W\n'}, "vendored")
    d = a.build({"go.mod": "module x\n", "main.go": "package main\nfunc main() { nope() }\n"})
    assert not d.ok and d.result["step"] == "build", d
    d.says("undefined: nope")
    return f"first {seconds(b)}, with the cache {seconds(c)}"


def make_programs(w):
    a = App(world(w), "make")
    b = a.build({"Makefile": "all:\n\tfalse\n", "Procfile": "web: ./x\n"})
    assert not b.ok and b.result["step"] == "build", b
    b = a.build({"Makefile": "all:\n\ttrue\n"})
    assert not b.ok and b.result["step"] == "start", b
    b.says("Procfile")
    cpp = '#include <iostream>\nint main() { std::cout << "made by g++" << std::endl; }\n'
    a.deploy({"Makefile": "x: x.cc\n\t$(CXX) -o $@ x.cc\n\t./x > a.txt\n", "x.cc": cpp, "Procfile": "web: python3 -m http.server $PORT\n"}, "made by g++", "/a.txt")


def a_runtime_that_is_missing(w):
    """A cartridge whose programs this stack lacks is no cartridge of this node, and says which package."""
    carts = w.root + "/carts"
    shutil.copytree(SRC + "/cartridges", carts)
    m = f"{carts}/ruby/metadata/manifest.yml"
    text = open(m).read().replace("/usr/bin/puma: puma", "/usr/bin/no-such-server: no-such-package")
    open(m, "w").write(text)
    w.cartridges = carts
    world(w)
    a = App(w, "ruby")
    w.wait_gear(a.gear, "failed")
    reason = w.broker.gears[a.gear]["reason"]
    assert "cannot run ruby 3.1" in reason and "install the Debian package no-such-package" in reason, reason
    facts = w.broker.facts
    assert "perl-5.36" in facts["cartridges"] and "ruby-3.1" not in facts["cartridges"], facts
    assert facts["lacks"] == ["ruby-3.1: /usr/bin/no-such-server is missing: install the Debian package no-such-package"], facts
    w.remove_gear(a.gear)


if __name__ == "__main__":
    run_tests([templates, php_by_fpm, ruby_gems, ruby_without_the_gem, perl_applications, perl_modules, war, jar, go_modules, make_programs,
               a_runtime_that_is_missing])
