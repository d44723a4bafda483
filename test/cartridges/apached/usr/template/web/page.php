<p>PHP of <?= getenv("OPENSHIFT_APP_NAME") ?></p>
