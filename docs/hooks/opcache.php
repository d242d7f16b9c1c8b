<?php
// Has opcache forget the scripts that have changed, as a hook of sersync tells it: the event is the body of a POST, signed with
// a secret (hmac_file). It must run in the web server, as each PHP has a cache of its own. PHP 7.1 or newer.

// The directory that is the target. Nothing outside of it is touched.
const ROOT = '/var/www/html';
// The secret alone, in a file outside of ROOT that PHP can read: chown root:www-data, chmod 640.
const SECRET = '/etc/sersync-opcache.secret';

function answer(int $status, string $text): void
{
    http_response_code($status);
    header('Content-Type: text/plain');
    echo $text;
    exit;
}

// The bytes of a path below ROOT; null for what is none.
function pathOf(array $p): ?string
{
    // JSON holds no bytes that are not UTF-8: such a path comes in base64 as well.
    $path = isset($p['path_base64']) ? base64_decode($p['path_base64'], true) : ($p['path'] ?? null);
    if (!is_string($path) || strpos($path, "\0") !== false) {
        return null;
    }
    // No empty segment, no "." and no "..".
    return $path === '' || !preg_match('~(^|/)\.{0,2}(/|$)~D', $path) ? $path : null;
}

// Whether a file leads out of a directory by a symlink.
function leadsOut(string $file, string $root): bool
{
    $real = realpath($file);
    return $real !== false && strpos("$real/", "$root/") !== 0;
}

function forget(array $paths, string $root): void
{
    $below = [];
    foreach ($paths as $p) {
        $path = is_array($p) ? pathOf($p) : null;
        if ($path === null || leadsOut("$root/$path", $root)) {
            continue;
        }
        if (($p['type'] ?? '') !== 'dir') {
            opcache_invalidate("$root/$path", true);
        } elseif (in_array($p['what'] ?? '', ['removed', 'many'], true)) {
            // One path stands for all that was below it.
            $below[] = $path === '' ? "$root/" : "$root/$path/";
        }
    }
    $scripts = $below ? array_keys(opcache_get_status(true)['scripts'] ?? []) : [];
    foreach ($scripts as $script) {
        foreach ($below as $dir) {
            if (strpos($script, $dir) === 0) {
                opcache_invalidate($script, true);
            }
        }
    }
}

$secret = rtrim((string) @file_get_contents(SECRET), "\r\n");
$root = realpath(ROOT);
if ($secret === '' || $root === false || !function_exists('opcache_invalidate')) {
    answer(500, "opcache, the secret or the directory is missing here\n");
}
$body = (string) file_get_contents('php://input');
$signature = (string) ($_SERVER['HTTP_X_SERSYNC_SIGNATURE'] ?? '');
if (!hash_equals('sha256=' . hash_hmac('sha256', $body, $secret), $signature)) {
    answer(403, "the signature is wrong\n");
}
$event = json_decode($body, true);
if (!is_array($event) || !is_array($event['paths'] ?? null)) {
    answer(400, "the body is no event with paths\n");
}
clearstatcache(true);
forget($event['paths'], $root);
answer(200, "ok\n");
