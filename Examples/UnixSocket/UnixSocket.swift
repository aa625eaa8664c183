import MQTTServer
import NIOCore
import NIOPosix

/// A broker behind a Unix domain socket, for which it has no listener of its own: the program listens, and gives it the
/// channels.
///
///     unix-socket /run/mqtt.sock &
///     mosquitto_pub --unix /run/mqtt.sock -t t -m hello
@main struct UnixSocket {
    static func main() async throws {
        guard CommandLine.arguments.count == 2 else { throw Usage() }
        var configuration = BrokerConfiguration()
        configuration.addresses = []
        let broker = MQTTBroker(configuration: configuration)
        async let running: Void = broker.run()

        let server = try await ServerBootstrap(group: broker.eventLoops[0])
            // What is read before the broker has the channel would be lost.
            .childChannelOption(.autoRead, value: false)
            .bind(unixDomainSocketPath: CommandLine.arguments[1], cleanupExistingSocketFile: true) { channel in
                channel.eventLoop.makeSucceededFuture(channel)
            }
        print("listening on \(CommandLine.arguments[1])")
        try await server.executeThenClose { channels in
            for try await channel in channels {
                do {
                    try await broker.accept(channel)
                } catch let error as HostError {
                    throw error
                } catch {
                    // It has closed already.
                }
            }
        }
        try await running
    }
}

struct Usage: Error, CustomStringConvertible {
    let description = "unix-socket PATH"
}
