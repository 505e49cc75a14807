{# What the traits that are declared with `history: true` were, and when. One row per profile, trait and value. #}
{% snapshot revetl_trait_history %}
{{ config(
    enabled=revetl.traits() | selectattr('history') | list != [],
    unique_key=['canonical_id', 'trait'],
    strategy='check',
    check_cols=['value'],
    updated_at='seen_at',
    hard_deletes='invalidate',
    snapshot_meta_column_names={
        'dbt_valid_from': 'valid_from', 'dbt_valid_to': 'valid_to', 'dbt_updated_at': 'updated_at', 'dbt_scd_id': 'id'
    },
) }}
-- depends_on: {{ ref('revetl', 'int_revetl__kept_traits') }}
{{ revetl.history_as_of(this, ref('revetl', 'int_revetl__kept_traits')) }}
{% endsnapshot %}
