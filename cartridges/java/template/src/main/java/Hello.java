import com.sun.net.httpserver.HttpServer;
import java.net.InetSocketAddress;
import java.nio.charset.StandardCharsets;
import java.util.concurrent.Executors;

/** A web server to start from. The platform says where to listen: PORT and HOST. */
public class Hello {
    private static final String PAGE = """
        <!DOCTYPE html>
        <html lang="en">
        <meta charset="utf-8">
        <title>It works</title>
        <style>body { font: 1.1em/1.6 system-ui, sans-serif; max-width: 38em; margin: 4em auto; padding: 0 1em }</style>
        <h1>It works</h1>
        <p>This page comes from <code>Hello.java</code>, run by Java %s with a heap of at most %d MB. Change it and push:</p>
        <pre>git commit -am "My first change" &amp;&amp; git push</pre>
        <p>A <code>pom.xml</code>, a jar or a war in the repository takes the place of these classes.</p>
        """;

    private static String env(String name, String otherwise) {
        String value = System.getenv(name);
        return value == null || value.isEmpty() ? otherwise : value;
    }

    public static void main(String[] args) throws Exception {
        InetSocketAddress at = new InetSocketAddress(env("HOST", "0.0.0.0"), Integer.parseInt(env("PORT", "8080")));
        HttpServer server = HttpServer.create(at, 128);
        server.createContext("/", exchange -> {
            long heap = Runtime.getRuntime().maxMemory() >> 20;
            byte[] body = PAGE.formatted(System.getProperty("java.version"), heap).getBytes(StandardCharsets.UTF_8);
            exchange.getResponseHeaders().set("Content-Type", "text/html; charset=utf-8");
            exchange.sendResponseHeaders(200, body.length);
            exchange.getResponseBody().write(body);
            exchange.close();
        });
        server.setExecutor(Executors.newFixedThreadPool(8));
        Runtime.getRuntime().addShutdownHook(new Thread(() -> server.stop(1)));
        server.start();
        System.out.println("listening on " + at);
    }
}
