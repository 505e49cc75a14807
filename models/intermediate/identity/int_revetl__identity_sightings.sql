{{ config(
    materialized='patched',
    meta={
        'key': ['message_id', 'sighting_hash'], 'stale': 'int_revetl__identity_changes',
        'stale_if': "stale.change = 'gone'", 'stale_batch': true
    },
    tags=['identity_increment'],
    **revetl.storage('timestamp', keys=['left_node', 'right_node'])
) }}

{% if revetl.identity_increment() and revetl.relation_there('int_revetl__identity_sightings') is not none %}
with changes as (

    select * from {{ ref('revetl', 'int_revetl__identity_changes') }}
    where change = 'new' and batch = '{{ invocation_id }}'

),
{% else %}
with changes as (

    select * from {{ ref('revetl', 'int_revetl__identity_stars') }}

),

{# For the order of the build: a model that reads the old sightings comes first. #}
-- depends_on: {{ ref('revetl', 'int_revetl__identity_changes') }}
{% endif %}

sightings as (

    select
        source,
        message_id,
        timestamp,
        left_node,
        left_type,
        left_value,
        right_node,
        right_type,
        right_value,
        is_leading,
        sighting_hash
    from changes

)

select * from sightings
