"""An application object, as Flask has it, and a development server behind a guard."""


class App:
    def __call__(self, environ, start_response):
        start_response("200 OK", [("Content-Type", "text/plain")])
        return [b"flask-like"]

    def run(self):
        raise RuntimeError("the development server is not what production runs")


app = App()

if __name__ == "__main__":
    app.run()
