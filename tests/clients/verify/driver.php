<?php
// Asks the guide's isGenuine about each line of the file CASES: id, timestamp, signatures and body, in base64.
require __DIR__ . '/snippet.php';

foreach (file(getenv('CASES'), FILE_IGNORE_NEW_LINES) as $line) {
    $fields = explode(' ', $line);
    $headers = [];
    foreach (['webhook-id', 'webhook-timestamp', 'webhook-signature'] as $i => $name) {
        if ($fields[$i] !== '-') {
            $headers[$name] = base64_decode($fields[$i], true);
        }
    }
    $body = $fields[3] === '-' ? '' : base64_decode($fields[3], true);
    echo isGenuine(getenv('SECRET'), $headers, $body) ? "true\n" : "false\n";
}
