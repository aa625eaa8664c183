import MQTTCore
import MQTTPackets
import NIOCore

/// What is asked of a CONNECT and of the AUTH packets that may follow it.
extension HookRunner {
    /// An exchange of AUTH packets that is under way.
    struct Exchange: Sendable {
        let method: String
        var state: (any Sendable)?
        /// Nil where a connected client authenticates itself again.
        var connect: ConnectAnswer?
    }

    /// What was decided, and what is to be known of the connection from now on.
    struct Decided: Sendable {
        var answer: Answer
        var client: ClientInfo
        /// Nil where there is none, or none any more.
        var exchange: Exchange?
    }

    func decide(_ asked: ConnectAnswer, by client: ClientInfo) async -> Decided {
        var client = client
        let connect = asked.connect
        client.id = connect.clientID
        client.version = connect.version
        client.username = connect.userName
        if let reason = await refusal(of: connect, by: client) { return refused(asked, reason, client) }
        if let method = connect.properties[string: .authenticationMethod] {
            let exchange = Exchange(method: method, connect: asked)
            return await step(exchange, data: connect.properties[binary: .authenticationData], by: client)
        }
        guard let authenticate = hooks.authenticate else { return accepted(asked, client) }
        let credentials = Credentials(connect)
        let decision = await call("authenticate", for: client) { [client] in
            try await authenticate(client, credentials)
        }
        switch decision {
        case .value(.accepted(let username, let attributes)):
            client.username = username ?? client.username
            client.attributes = attributes
            return accepted(asked, client)
        case .value(.rejected(let reason)): return refused(asked, Self.reason(reason, in: .connack), client)
        case .failed, .timedOut: return refused(asked, .serverUnavailable, client)
        }
    }

    private func refusal(of connect: Connect, by client: ClientInfo) async -> ReasonCode? {
        guard let preConnect = hooks.preConnect else { return nil }
        let request = ConnectRequest(connect, client)
        switch await call("preConnect", for: client, { try await preConnect(request) }) {
        case .value(.proceed): return nil
        case .value(.refuse(let reason)): return Self.reason(reason, in: .connack)
        case .failed, .timedOut: return .serverUnavailable
        }
    }

    /// All but the will and the subscriptions is decided.
    private func accepted(_ asked: ConnectAnswer, _ client: ClientInfo) -> Decided {
        var accepted = asked
        accepted.username = client.username
        accepted.attributes = client.attributes
        if let will = asked.connect.will {
            (accepted.connect.will, accepted.refusal) = decide(will, by: client)
        }
        return Decided(answer: .connect(accepted), client: client)
    }

    private func refused(_ asked: ConnectAnswer, _ reason: ReasonCode, _ client: ClientInfo) -> Decided {
        var refused = asked
        refused.refusal = reason
        return Decided(answer: .connect(refused), client: client)
    }

    /// The subscriptions of the session that it resumes.
    func decide(
        _ asked: ConnectAnswer,
        _ subscriptions: [ResumedSubscription],
        by client: ClientInfo
    ) async -> Decided {
        var accepted = asked
        let verdicts = await decide(subscriptions, of: client)
        accepted.subscriptions.merge(verdicts) { _, newer in newer }
        return Decided(answer: .connect(accepted), client: client)
    }

    // MARK: AUTH

    /// AUTH has come. `method` is that of the connection's CONNECT.
    func decide(_ auth: Auth, method: String, _ exchange: Exchange?, by client: ClientInfo) async -> Decided {
        let current: Exchange? =
            switch auth.reasonCode {
            case .continueAuthentication: exchange  // [MQTT-4.12.0-3]
            // A connected client begins anew, also where it has not ended what it began.
            case .reAuthenticate where exchange?.connect == nil: Exchange(method: method)
            default: nil
            }
        guard let current else { return Decided(answer: .refused(.protocolError), client: client) }
        guard auth.properties[string: .authenticationMethod] == method else {
            return Decided(answer: .refused(.badAuthenticationMethod), client: client)  // [MQTT-4.12.1-1]
        }
        return await step(current, data: auth.properties[binary: .authenticationData], by: client)
    }

    private func step(_ exchange: Exchange, data: ByteBuffer?, by known: ClientInfo) async -> Decided {
        var (exchange, client) = (exchange, known)
        guard let hook = hooks.enhancedAuthentication else {
            return refused(exchange, .badAuthenticationMethod, client)
        }
        let request = AuthenticationRequest(
            method: exchange.method,
            data: data,
            state: exchange.state,
            isAgain: exchange.connect == nil,
            credentials: exchange.connect.flatMap { Credentials($0.connect) }
        )
        let outcome = await call("enhancedAuthentication", for: client) {
            let step = try await hook(known, request)
            guard step.data?.readableBytes ?? 0 <= 65_535 else { throw AuthenticationDataTooLong() }
            return step
        }
        switch outcome {
        case .value(.challenge(let data, let state)):
            exchange.state = state
            let properties = properties(exchange.method, data)
            return Decided(answer: .challenge(properties), client: client, exchange: exchange)
        case .value(.accepted(let data, let username, let attributes)):
            client.username = username ?? client.username
            client.attributes = attributes
            guard var asked = exchange.connect else {
                return Decided(answer: .authenticated(properties(exchange.method, data)), client: client)
            }
            for property in properties(exchange.method, data).elements {
                asked.properties.append(property.identifier, property.value)  // [MQTT-4.12.0-5]
            }
            return accepted(asked, client)
        case .value(.rejected(let reason)): return refused(exchange, reason, client)
        case .failed, .timedOut:
            let isConnected = exchange.connect == nil
            return refused(exchange, isConnected ? .implementationSpecificError : .serverUnavailable, client)
        }
    }

    private func refused(_ exchange: Exchange, _ reason: ReasonCode, _ client: ClientInfo) -> Decided {
        if let asked = exchange.connect { return refused(asked, Self.reason(reason, in: .connack), client) }
        return Decided(answer: .refused(Self.reason(reason, in: .disconnect)), client: client)
    }

    private func properties(_ method: String, _ data: ByteBuffer?) -> Properties {
        var properties = Properties()
        properties[string: .authenticationMethod] = method
        properties[binary: .authenticationData] = data
        return properties
    }
}

/// What the hook gave does not fit into a packet.
private struct AuthenticationDataTooLong: Error, CustomStringConvertible {
    var description: String { "authentication data has at most 65,535 bytes" }
}

extension AuthenticationStep {
    fileprivate var data: ByteBuffer? {
        switch self {
        case .challenge(let data, _), .accepted(let data, _, _): data
        case .rejected: nil
        }
    }
}
