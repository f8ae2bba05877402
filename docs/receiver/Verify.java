import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.security.GeneralSecurityException;
import java.security.MessageDigest;
import java.util.Base64;
import java.util.List;
import javax.crypto.Mac;
import javax.crypto.spec.SecretKeySpec;

/**
 * Verify a delivery of payplat: Standard Webhooks 1.0, symmetric signatures (v1). Java 11 or newer, nothing else.
 *
 * <p>On the command line: java Verify.java &lt;secret&gt; &lt;id&gt; &lt;timestamp&gt; &lt;signature&gt; &lt; body; exit
 * code 0 when it is genuine, else 1. Several secrets are separated by spaces.
 */
public final class Verify {
    /** Seconds that a timestamp may be off, either way. */
    private static final long TOLERANCE = 300;

    private Verify() {}

    /**
     * Tell whether one of {@code secrets} signed exactly these bytes, not five minutes off from now.
     *
     * <p>The texts are the headers webhook-id, webhook-timestamp and webhook-signature as they came, empty where missing.
     *
     * @throws IllegalArgumentException for a secret that is none
     */
    public static boolean verify(
            List<String> secrets, String id, String timestamp, String signatures, byte[] body)
            throws GeneralSecurityException {
        boolean genuine = false;
        for (String secret : secrets) {
            byte[] expected = sign(decode(secret), id, timestamp, body).getBytes(StandardCharsets.UTF_8);
            for (String sent : signatures.split(" ")) {
                genuine |= MessageDigest.isEqual(expected, sent.getBytes(StandardCharsets.UTF_8));
            }
        }
        return genuine && !id.isEmpty() && isFresh(timestamp);
    }

    private static String sign(byte[] key, String id, String timestamp, byte[] body)
            throws GeneralSecurityException {
        Mac mac = Mac.getInstance("HmacSHA256");
        mac.init(new SecretKeySpec(key, "HmacSHA256"));
        mac.update((id + "." + timestamp + ".").getBytes(StandardCharsets.UTF_8));
        return "v1," + Base64.getEncoder().encodeToString(mac.doFinal(body));
    }

    private static boolean isFresh(String timestamp) {
        if (!timestamp.matches("[0-9]{1,12}")) {
            return false;
        }
        return Math.abs(System.currentTimeMillis() / 1000 - Long.parseLong(timestamp)) <= TOLERANCE;
    }

    /** Return the key of whsec_…; a short one could be guessed, an empty one anybody has. */
    private static byte[] decode(String secret) {
        byte[] key = Base64.getDecoder().decode(secret.replaceFirst("^whsec_", ""));
        if (key.length < 24) {
            throw new IllegalArgumentException("the secret is not whsec_ and the Base64 of at least 24 bytes");
        }
        return key;
    }

    public static void main(String[] args) throws IOException, GeneralSecurityException {
        List<String> secrets = List.of(args[0].split(" "));
        boolean genuine = verify(secrets, args[1], args[2], args[3], System.in.readAllBytes());
        System.exit(genuine ? 0 : 1);
    }
}
