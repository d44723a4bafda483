<?php
// Adminer for the databases of this application alone: where to connect to is not for the visitor
// to say.
function gear_databases() {
    $all = [];
    foreach (['server' => ['MYSQL', 'MySQL'], 'pgsql' => ['POSTGRESQL', 'PostgreSQL']] as $driver => [$short, $title]) {
        $host = getenv("OPENSHIFT_{$short}_DB_HOST");
        if ($host !== false && $host !== '') {
            $all[$driver] = [$title, $host . ':' . (getenv("OPENSHIFT_{$short}_DB_PORT") ?: '0')];
        }
    }
    return $all;
}

function adminer_object() {
    class GearAdminer extends Adminer {
        function name() {
            return htmlspecialchars(getenv('OPENSHIFT_APP_NAME') ?: 'Adminer');
        }

        function credentials() {
            $at = gear_databases()[DRIVER] ?? null;
            if ($at === null) {
                header('HTTP/1.1 403 Forbidden');
                exit('This application has no such database.');
            }
            return [$at[1], $_GET['username'] ?? '', get_password()];
        }

        function login($login, $password) {
            return $password !== '';
        }

        function loginFormField($name, $heading, $value) {
            if ($name == 'driver') {
                $options = '';
                foreach (gear_databases() as $driver => [$title]) {
                    $options .= "<option value=\"$driver\">$title</option>";
                }
                return $heading . "<select name=\"auth[driver]\">$options</select>\n";
            }
            if ($name == 'server') {
                return "<input type=\"hidden\" name=\"auth[server]\" value=\"\">\n";
            }
            return parent::loginFormField($name, $heading, $value);
        }
    }
    return new GearAdminer;
}

if (!gear_databases()) {
    header('Content-Type: text/plain');
    exit("This application has no database: add mysql or postgresql to it.\n");
}
require '/usr/share/adminer/adminer.php';
