<?php
// Runs before each script. A request for what is no file comes to index.php through the server's
// error handler, which leaves the query out: here it comes back.
if (($_SERVER['QUERY_STRING'] ?? '') === '' && ($at = strpos($_SERVER['REQUEST_URI'] ?? '', '?')) !== false) {
    $_SERVER['QUERY_STRING'] = substr($_SERVER['REQUEST_URI'], $at + 1);
    parse_str($_SERVER['QUERY_STRING'], $_GET);
    $_REQUEST = $_GET + $_REQUEST;
}
unset($at);
