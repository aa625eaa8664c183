import MQTT
import MQTTPackets
import MQTTTesting

extension FakeServer.Connection {
    /// Takes CONNECT, and refuses it.
    @discardableResult
    func refuse(_ reasonCode: ReasonCode, _ properties: Properties = Properties()) async throws -> Connect {
        guard case .connect(let connect)? = try await next() else { throw TimedOut(description: "no CONNECT") }
        send(.connack(Connack(sessionPresent: false, reasonCode: reasonCode, properties: properties)))
        return connect
    }

    /// Takes SUBSCRIBE, and grants what it asks for.
    @discardableResult
    func grant() async throws -> Subscribe {
        guard case .subscribe(let subscribe)? = try await next() else { throw TimedOut(description: "no SUBSCRIBE") }
        let codes = subscribe.filters.map { ReasonCode(rawValue: $0.options.qos.rawValue) }
        send(.suback(Suback(packetID: subscribe.packetID, reasonCodes: codes)))
        return subscribe
    }

    /// Takes UNSUBSCRIBE, and answers it.
    @discardableResult
    func unsubscribe(_ reasonCode: ReasonCode = .success) async throws -> Unsubscribe {
        guard case .unsubscribe(let unsubscribe)? = try await next() else {
            throw TimedOut(description: "no UNSUBSCRIBE")
        }
        send(.unsuback(Unsuback(packetID: unsubscribe.packetID, reasonCodes: [reasonCode])))
        return unsubscribe
    }

    /// Takes messages of QoS 1, and acknowledges each: their payloads.
    func acknowledge(_ count: Int) async throws -> [String] {
        var payloads: [String] = []
        for _ in 0..<count {
            let publish = try await publish()
            send(.puback(Acknowledgement(packetID: publish.packetID ?? 0)))
            payloads.append(String(buffer: publish.payload))
        }
        return payloads
    }

    /// The next packet is DISCONNECT, and nothing follows.
    func disconnect() async throws -> Disconnect {
        guard case .disconnect(let disconnect)? = try await next() else { throw TimedOut(description: "no DISCONNECT") }
        guard try await next() == nil else { throw TimedOut(description: "a packet after DISCONNECT") }
        return disconnect
    }
}

extension FakeServer {
    /// Sends a client here.
    var reference: Properties {
        var properties = Properties()
        properties[string: .serverReference] = "\(address.host):\(address.port)"
        return properties
    }
}
