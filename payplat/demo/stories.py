"""All stories, in the order in which they are told."""

from payplat.demo import alipay_stories, apple_stories, google_stories

STORIES = (*alipay_stories.STORIES, *apple_stories.STORIES, *google_stories.STORIES)
