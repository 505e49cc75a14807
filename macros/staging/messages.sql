{# The messages of a raw table, one row per message id.

   `columns` are the ones this type of message has of its own; `sample` is the seed that stands in for the
   table for as long as `sample_events` is on and no event of any type has landed, so that the two never mix.
   A message that was delivered again counts as it was first received. What the tracking plan has blocked is left
   out, and what it omits is taken from the documents; before that, messages are transformed. A message whose time is
   more than an hour after it was received has a sender whose clock is wrong: it counts as of when it was received. What
   happened after `as_of`, which is now unless it is set, is left out: the whole project is built as of then.

   A build that patches the table (the materialization `staged`) reads only the messages of its working table `ids`. #}
{% macro messages(name, columns, documents, sample=none) %}
    {% set types = {'tracks': 'track', 'identifies': 'identify', 'groups': 'group', 'pages': 'page', 'screens': 'screen'} %}
    {% if revetl.override_of('stg_revetl__' ~ name) %}
        {% do config(materialized=revetl.view_kind()) %}
        {{ return(revetl.own_messages('stg_revetl__' ~ name, types.get(name))) }}
    {% endif %}
    {% set layout = revetl.storage('timestamp', keys=['message_id']) %}
    {% do config(tags=['identity_increment'], meta={'raw': name, 'sample': sample}, **layout) %}
    {% set names = revetl.common_raw_columns() + columns + documents + ['context'] %}
    {% set patches = revetl.patches_staging() %}
with landed as{{ revetl.read_anew() }} (

    select
    {%- for column in names %}
        {{ revetl.transformed_column(types[name], column) }}{{ ',' if not loop.last }}
    {%- endfor %}
    from {{ revetl.raw_table(name) }}
    {%- if patches %}
    where
        id in (select ids.message_id from {{ revetl.working('ids') }} as ids)
        {{ revetl.raw_span() }}
    {%- endif %}

),

-- depends_on: {{ ref('revetl', 'int_revetl__message_changes') }}
    {% if sample and var('sample_events') and not revetl.overrides() %}
sampled as{{ revetl.read_anew() }} (

    select
        {%- for column in names %}
        {%- if column == 'source_id' %}
        cast(null as {{ revetl.type_of('varchar') }}) as source_id
        {%- else %}
        {{ revetl.transformed_column(types[name], column, is_sample=true) }}
        {%- endif %}
        {{- ',' if not loop.last }}
        {%- endfor %}
    from {{ ref('revetl', sample) }}
    where
        {{ revetl.nothing_has_landed() }}
        {%- if patches %}
        and id in (select ids.message_id from {{ revetl.working('ids') }} as ids)
        {%- endif %}

),

messages as{{ revetl.read_anew() }} (

    select * from landed
    union all
    select * from sampled

),
    {% else %}
messages as{{ revetl.read_anew() }} (

    select * from landed

),
    {% endif %}

clocked as{{ revetl.read_anew() }} (

    select
        {%- for column in names if column != 'timestamp' %}
        {{ column }},
        {%- endfor %}
        {{ revetl.message_time() }} as timestamp,
        {{ revetl.truth(revetl.is_clock_ahead()) }} as is_clock_ahead
    from messages

),

timely as{{ revetl.read_anew() }} (

    select * from clocked
    where timestamp is null or timestamp <= {{ revetl.as_of() }}

),

-- Few are delivered again, and only those have to be sorted.
repeated as (

    select id as repeated_id
    from timely
    group by id
    having count(*) > 1

),

ordered as (

    select
        timely.*,
        row_number() over (
            partition by timely.id
            order by
                {{ revetl.nulls_last('timely.received_at') }},
                {{ revetl.nulls_last('timely.uuid_ts') }},
                {{ revetl.nulls_last('timely.timestamp') }}
        ) as delivery
    from timely
    inner join repeated
        on timely.id = repeated.repeated_id

),

delivered as (

    select
        {%- for column in names %}
        {{ column }},
        {%- endfor %}
        is_clock_ahead
    from timely
    where not exists (select 1 from repeated where repeated.repeated_id = timely.id)
    union all
    select
        {%- for column in names %}
        {{ column }},
        {%- endfor %}
        is_clock_ahead
    from ordered
    where delivery = 1

),

{{ revetl.messages_to_omit_from(types[name]) if name in types }}

typed as (

    select
        id as message_id,
        nullif({{ revetl.trimmed('user_id') }}, '') as user_id,
        nullif({{ revetl.trimmed('anonymous_id') }}, '') as anonymous_id,
    {%- for column in columns %}
        {{ column }},
    {%- endfor %}
    {%- for column in documents %}
        {{ revetl.staged_document(types[name], column) }},
    {%- endfor %}
        context,
        timestamp,
        is_clock_ahead,
        original_timestamp,
        sent_at,
        received_at,
        uuid_ts as loaded_at,
        source_id
    from delivered
    {{ revetl.join_to_omit_from(types[name], 'delivered.id') if name in types }}
    {%- set unblocked = revetl.and_not_blocked(types[name], 'delivered.id') | trim if name in types else '' %}
    {{ 'where ' ~ unblocked[4:] if unblocked }}

)

select * from typed
{%- endmacro %}

{# The columns that every raw table has, but its documents. #}
{% macro common_raw_columns() %}
    {{ return(['id', 'user_id', 'anonymous_id', 'timestamp', 'original_timestamp', 'sent_at', 'received_at', 'uuid_ts',
        'source_id']) }}
{% endmacro %}

{# The messages of the project's own model, without those that the tracking plan blocks. #}
{% macro own_messages(name, type) -%}
select messages.*
from ({{ revetl.standing_in(name) }}) as messages
where
    1 = 1
    {{ revetl.and_not_blocked(type, 'messages.message_id') if type }}
{%- endmacro %}

{# When a raw message happened; one that says that it happened more than an hour after it was received, when it was
   received. #}
{% macro message_time() -%}
    case when {{ revetl.is_clock_ahead() }} then coalesce(received_at, uuid_ts) else timestamp end
{%- endmacro %}

{# Whether a raw message is of a clock that is more than an hour ahead. #}
{% macro is_clock_ahead() -%}
    timestamp > {{ revetl.seconds_after('coalesce(received_at, uuid_ts)', 3600) }}
{%- endmacro %}

{# Whether all raw tables are empty. #}
{% macro nothing_has_landed() -%}
    {% for name in ['tracks', 'identifies', 'pages', 'screens', 'groups', 'aliases'] -%}
    not exists (select 1 from {{ revetl.raw_table(name) }})
    {%- if not loop.last %} and {% endif %}
    {%- endfor %}
{%- endmacro %}
