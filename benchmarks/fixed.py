"""What all processes of the benchmark agree on."""

PATH = "/v1/callback/alipay"
APP_ID, SELLER_ID = "2021000000000001", "2088000000000001"
ORDER_PATH, VERIFY_PATH = "/v1/create_order/", "/v1/verify/"
# What Apple's channel and Google's are about.
BUNDLE_ID = PACKAGE = "com.example.game"
# The key of the app's backend, with which it opens orders and has receipts verified.
API_KEY = f"payplat_{'0123456789ab'}_{'5c' * 32}"
ISSUER_ID, KEY_ID = "57246542-96fe-1a63-e053-0824d011072a", "2X9R4HXF34"
