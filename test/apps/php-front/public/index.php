<?php
// A front controller: every path that is no file comes here.
header("Content-Type: text/plain");
echo "front ", $_SERVER["REQUEST_URI"], " ", getenv("WHO"), " ", $_GET["q"] ?? "", "\n";
