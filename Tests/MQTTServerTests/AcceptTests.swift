import MQTTPackets
import MQTTServer
import MQTTTesting
import NIOCore
import NIOPosix
import Testing

#if canImport(Glibc)
import Glibc
#elseif canImport(Darwin)
import Darwin
#endif

@Suite(.timeLimit(.minutes(1))) struct AcceptTests {
    /// Two ends of one pipe.
    private func makePipe() throws -> (Int32, Int32) {
        var ends: [Int32] = [0, 0]
        #if canImport(Glibc)
        let kind = Int32(SOCK_STREAM.rawValue)
        #else
        let kind = SOCK_STREAM
        #endif
        guard socketpair(AF_UNIX, kind, 0, &ends) == 0 else { throw TimedOut(description: "no pipe") }
        return (ends[0], ends[1])
    }

    private func pipe(to loop: any EventLoopGroup, _ descriptor: Int32) async throws -> any Channel {
        try await NIOPipeBootstrap(group: loop)
            .channelOption(.autoRead, value: false)
            .takingOwnershipOfDescriptor(inputOutput: descriptor).get()
    }

    private func client(_ descriptor: Int32) async throws -> NIOAsyncChannel<ByteBuffer, ByteBuffer> {
        try await ClientBootstrap(group: MultiThreadedEventLoopGroup.singleton).withConnectedSocket(descriptor) {
            channel in
            channel.eventLoop.makeCompletedFuture {
                try NIOAsyncChannel<ByteBuffer, ByteBuffer>(wrappingChannelSynchronously: channel)
            }
        }
    }

    @Test("the broker serves MQTT on a channel of each of its loops that is no TCP connection")
    func accept() async throws {
        try await withBroker(.live) { broker, _ in
            let loops = try await broker.eventLoops
            #expect(loops.count == 2)
            for loop in loops {
                let (near, far) = try makePipe()
                let channel = try await pipe(to: loop, near)
                let client = try await client(far)
                let kinds = try await within("the packets") {
                    try await client.executeThenClose { inbound, outbound in
                        // What comes before the broker has the channel is not lost.
                        try await outbound.write(Self.connectAndSubscribe)
                        try await broker.accept(channel)
                        var received = ByteBuffer()
                        var decoder = PacketDecoder(version: .v5)
                        var kinds: [PacketKind] = []
                        for try await var bytes in inbound {
                            received.writeBuffer(&bytes)
                            while let packet = try decoder.next(&received) { kinds.append(packet.kind) }
                            if kinds.last == .suback { try await broker.publish("through the pipe", to: "t") }
                            if kinds.last == .publish { #expect(try broker.disconnect("pipe")) }
                        }
                        return kinds
                    }
                }
                #expect(kinds == [.connack, .suback, .publish, .disconnect])
            }
        }
    }

    private static var connectAndSubscribe: ByteBuffer {
        let encoder = PacketEncoder(version: .v5)
        var bytes = encoder.encode(.connect(Connect(version: .v5, clientID: "pipe")))
        let filters = [Subscribe.Filter("t", SubscriptionOptions())]
        encoder.encode(.subscribe(Subscribe(packetID: 1, filters: filters)), into: &bytes)
        return bytes
    }

    @Test("a channel of another loop is not accepted, and none when the broker does not run")
    func foreignChannel() async throws {
        let (near, far) = try makePipe()
        let channel = try await pipe(to: MultiThreadedEventLoopGroup.singleton, near)
        let broker = testBroker()
        await #expect(throws: HostError.notRunning) { try await broker.accept(channel) }
        try await withBroker(broker) { broker, _ in
            await #expect(throws: HostError.foreignChannel) { try await broker.accept(channel) }
        }
        await #expect(throws: HostError.notRunning) { _ = try await broker.eventLoops }
        try await channel.close()
        close(far)
    }
}
