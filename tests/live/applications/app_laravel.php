<?php

// Laravel's own cookies, sessions and guard, its sessions in Redis: /login, /logout, who the caller is.
// SESSION_ENCRYPT in the environment encrypts them.

error_reporting(E_ALL & ~E_DEPRECATED);
foreach (['Auth', 'Cache', 'Config', 'Container', 'Cookie', 'Encryption', 'Http', 'Redis', 'Session'] as $part) {
    require_once "Illuminate/$part/autoload.php";
}

use Illuminate\Auth\GenericUser;
use Illuminate\Auth\SessionGuard;
use Illuminate\Cache\CacheManager;
use Illuminate\Config\Repository;
use Illuminate\Container\Container;
use Illuminate\Contracts\Auth\Authenticatable;
use Illuminate\Contracts\Auth\UserProvider;
use Illuminate\Cookie\CookieJar;
use Illuminate\Cookie\Middleware\EncryptCookies;
use Illuminate\Encryption\Encrypter;
use Illuminate\Http\JsonResponse;
use Illuminate\Http\Request;
use Illuminate\Redis\RedisManager;
use Illuminate\Session\Middleware\StartSession;
use Illuminate\Session\SessionManager;

class People implements UserProvider
{
    public function retrieveById($id) { return new GenericUser(['id' => $id, 'password' => 'x', 'remember_token' => null]); }
    public function retrieveByToken($id, $token) { return null; }
    public function updateRememberToken(Authenticatable $user, $token) {}
    public function retrieveByCredentials(array $credentials) { return null; }
    public function validateCredentials(Authenticatable $user, array $credentials) { return false; }
}

$place = parse_url(getenv('REDIS_URL'));
$app = new Container();
$app->instance('config', new Repository([
    'session' => [
        'driver' => 'redis', 'lifetime' => 10, 'expire_on_close' => false, 'lottery' => [0, 100],
        'encrypt' => (bool) getenv('SESSION_ENCRYPT'), 'cookie' => 'laravel_session', 'path' => '/',
        'domain' => null, 'secure' => false, 'http_only' => true, 'same_site' => 'lax',
    ],
    'cache' => [
        'default' => 'redis', 'prefix' => 'laravel_cache',
        'stores' => ['redis' => ['driver' => 'redis', 'connection' => 'default']],
    ],
]));
$app->instance('encrypter', new Encrypter(str_pad(substr(getenv('SECRET'), 0, 32), 32), 'AES-256-CBC'));
$app->bind(Illuminate\Contracts\Encryption\Encrypter::class, fn () => $app['encrypter']);
$app->singleton('redis', fn () => new RedisManager($app, 'phpredis', [
    'options' => ['prefix' => 'laravel_database_'],
    'default' => ['host' => $place['host'], 'port' => $place['port'], 'database' => substr($place['path'], 1)],
]));
$app->singleton('cache', fn () => new CacheManager($app));
$sessions = new SessionManager($app);

$answer = function (Request $request) {
    $session = $request->session();
    $guard = new SessionGuard('web', new People(), $session, $request);
    $guard->setCookieJar(new CookieJar());
    switch ($request->path()) {
        case 'login':
            $guard->login(new GenericUser(['id' => 42, 'password' => 'x', 'remember_token' => null]));
            break;
        case 'touch':
            $session->put('touched', $session->get('touched', 0) + 1);
            break;
        case 'leave':
            $session->forget($guard->getName());
            break;
        case 'logout':
            $session->invalidate();
            break;
    }
    return new JsonResponse(['user' => $session->get($guard->getName()), 'told' => $request->header('X-Auth-Subject')]);
};

$start = new StartSession($sessions);
$cookies = new EncryptCookies($app['encrypter']);
$request = Request::capture();
$cookies->handle($request, fn ($request) => $start->handle($request, $answer))->send();
