import java.io.*;
import java.net.*;

public class Main {
	static void serve(final String port, final String text) throws IOException {
		final ServerSocket s = new ServerSocket(Integer.parseInt(System.getenv(port)), 50,
			InetAddress.getByName(System.getenv("OPENSHIFT_JAVAN_IP")));
		new Thread(port) {
			public void run() {
				while (true) {
					try (Socket c = s.accept()) {
						BufferedReader in = new BufferedReader(new InputStreamReader(c.getInputStream()));
						for (String l = in.readLine(); l != null && !l.isEmpty(); l = in.readLine());
						c.getOutputStream().write(("HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: "
							+ text.length() + "\r\n\r\n" + text).getBytes());
					} catch (IOException e) {
						System.err.println(e);
					}
				}
			}
		}.start();
	}

	public static void main(String[] args) throws IOException {
		serve("OPENSHIFT_JAVAN_HTTP_PORT", "{APP_NAME} in Java");
		serve("OPENSHIFT_JAVAN_ADMIN_PORT", "admin");
	}
}
