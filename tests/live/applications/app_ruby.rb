# An application whose sessions are JSON in Redis: /login, /logout, who the caller is. Its argument: `rack` for
# redis-rack, `rails` for redis-actionpack under Rails' own middleware.
require 'json'
require 'rack'
require 'rack/handler/webrick'

SAYS = lambda do |env|
  session = env['rack.session']
  case env['PATH_INFO']
  when '/login'
    env['rack.session.options'][:renew] = true
    session['user_id'] = 42
  when '/touch'
    session['touched'] = session['touched'].to_i + 1
  when '/leave'
    session.delete('user_id')
    session['cart'] = [1, 2]
  when '/logout'
    session.destroy
  end
  user = env['PATH_INFO'] == '/logout' ? nil : session['user_id']
  told = env['HTTP_X_AUTH_SUBJECT']
  [200, { 'Content-Type' => 'application/json' }, [JSON.dump({ 'user' => user, 'told' => told })]]
end

def on_rack(server)
  require 'rack/session/redis'
  Rack::Session::Redis.new(SAYS, redis_server: server, expire_after: 600)
end

def on_rails(server)
  require 'active_support/all'
  require 'action_dispatch'
  require 'redis-actionpack'
  options = { servers: [server], key: '_shop_session', expire_after: 600 }
  ActionDispatch::Cookies.new(ActionDispatch::Session::RedisStore.new(SAYS, options))
end

namespace = ARGV[0] == 'rails' ? 'session' : 'rack:session'
server = { url: ENV.fetch('REDIS_URL'), namespace: namespace, serializer: JSON }
application = ARGV[0] == 'rails' ? on_rails(server) : on_rack(server)

quiet = WEBrick::Log.new(File::NULL)
listener = WEBrick::HTTPServer.new(BindAddress: '127.0.0.1', Port: 0, Logger: quiet, AccessLog: [])
listener.mount('/', Rack::Handler::WEBrick, application)
Thread.new do
  $stdin.read
  listener.shutdown
end
puts listener.config[:Port]
$stdout.flush
listener.start
